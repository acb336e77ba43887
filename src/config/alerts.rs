//! Checks of `[[alert]]` and `[webhook]` that concern several keys.
//!
//! Input: valid values. Output: the rules, or the first key that contradicts others. Invariants: an error names the rule, the key, its value and what is
//! allowed.

use super::{ConfigError, Loaded};
use crate::calls::alerts::{AlertOptions, Rule};
use crate::stream::Summaries;

/// Makes the rules.
pub(super) fn rules(loaded: &Loaded, alerts: &[AlertOptions]) -> Result<Vec<Rule>, ConfigError> {
    let mut rules: Vec<Rule> = Vec::with_capacity(alerts.len());
    for (index, options) in alerts.iter().enumerate() {
        let rejected = |key: &str, allowed: String| {
            let error = loaded.reject(&format!("alert.{index}.{key}"), allowed);
            of_rule(error, options.name.as_deref())
        };
        let rule = Rule::new(options).map_err(|refused| rejected(refused.key, refused.allowed))?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(rejected("name", "a name that no other rule has".to_owned()));
        }
        rules.push(rule);
    }
    if !rules.is_empty() && loaded.config.calls.summaries == Summaries::Off {
        return Err(loaded
            .reject("calls.summaries", "named or all beside [[alert]]: only streams of calls have alerts"));
    }
    Ok(rules)
}

/// Adds the name of the rule to the key of an error.
fn of_rule(error: ConfigError, name: Option<&str>) -> ConfigError {
    match (error, name) {
        (ConfigError::Value { key, value, origin, allowed }, Some(name)) => {
            ConfigError::Value { key, value, origin, allowed: format!("{allowed} (rule {name:?})") }
        }
        (error, _) => error,
    }
}

/// Checks that the webhook has both an address and a secret, or neither.
pub(super) fn check_webhook(loaded: &Loaded) -> Result<(), ConfigError> {
    let webhook = &loaded.config.webhook;
    match (&webhook.url, &webhook.secret) {
        (Some(_), None) => Err(loaded.reject("webhook.secret", "the secret of webhook.url")),
        (None, Some(_)) => {
            Err(loaded.reject("webhook.url", "the address of the receiver beside webhook.secret"))
        }
        _ => Ok(()),
    }
}
