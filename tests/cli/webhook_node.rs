//! The signature of the webhook, verified by the npm package `standardwebhooks` 1.1.1.
//!
//! The test needs `node` (or the program that `AFFECTD_TEST_NODE` names) and `npm`. Without them it reports in one line that it did not run; where
//! `AFFECTD_TEST_NODE` is set, it fails instead.

use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use affectd::proto::Alert;
use affectd::webhook::{Message, SigningSecret, sign};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::examples::{Tool, run};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const VERIFIER: &str = r#"
const { Webhook } = require("standardwebhooks");
const { secret, body, headers } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const verified = new Webhook(secret).verify(body, headers);
let refused = false;
try { new Webhook(secret).verify(body + " ", headers); } catch { refused = true; }
console.log(verified.type, verified.data.alertId, refused);
"#;

#[tokio::test]
async fn standardwebhooks_verifies_the_signature_and_refuses_another_body() {
    let node = Tool::named("AFFECTD_TEST_NODE", "node");
    if !node.is_usable(node.command().arg("--version").output().await, "webhook", "it does not run") {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standardwebhooks");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("package.json"), r#"{"name":"verifier","private":true}"#).unwrap();
    let mut npm = Command::new("npm");
    let flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"];
    npm.args(["install", "standardwebhooks@1.1.1"]).args(flags).current_dir(&folder);
    if !node.is_usable(run(npm).await, "webhook", "npm cannot install standardwebhooks") {
        return;
    }
    let now = SystemTime::now();
    let alert = Alert { alert_id: "one".to_owned(), state: "raised".to_owned(), ..Alert::default() };
    let (message, timestamp) = (Message::new(&alert, now), now.duration_since(UNIX_EPOCH).unwrap().as_secs());
    let signature = sign(&SigningSecret::decode(SECRET).unwrap(), &message, timestamp);
    let input = serde_json::json!({"secret": SECRET, "body": message.body, "headers": {
        "webhook-id": message.id, "webhook-timestamp": timestamp.to_string(), "webhook-signature": signature,
    }});
    let mut verifier = node.command();
    verifier.args(["-e", VERIFIER]).current_dir(&folder);
    let pipes = verifier.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.trim(), "alert.raised one true", "{stderr}");
}
