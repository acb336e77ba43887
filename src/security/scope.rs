//! Scopes: what a principal may do.
//!
//! Input: names such as `recognize`. Output: a [`Scope`] or a set of them. Invariants: `admin` includes every other scope.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::options::{Form, choice};

choice! {
    /// What a principal may do.
    #[derive(Hash)]
    pub enum Scope {
        /// Open recognition streams.
        Recognize = "recognize",
        /// Evaluate a model on labelled clips.
        Evaluate = "evaluate",
        /// Read events, open calls, summaries and descriptions: gRPC reflection and `/api` of the HTTP server.
        Read = "read",
        /// Everything.
        Admin = "admin",
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope, in the order of their definition.
    const ALL: [Scope; 4] = [Scope::Recognize, Scope::Evaluate, Scope::Read, Scope::Admin];

    /// Returns the set with one more scope.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// Returns whether the set allows what `scope` allows.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        let has = |scope: Scope| self.0 & (1 << scope as u8) != 0;
        has(scope) || has(Scope::Admin)
    }

    /// Returns whether the set holds no scope.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the set of the known names among `names`; others are left out, because a JWT may hold scopes of other services.
    pub fn of_known<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(Scope::from_name).fold(Self::default(), Self::with)
    }

    /// Returns the set of `names`; `None` where one of them is unknown.
    pub fn of_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        names.into_iter().try_fold(Self::default(), |scopes, name| Some(scopes.with(Scope::from_name(name)?)))
    }

    /// Returns the names of the scopes, in the order of their definition.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |scope| self.0 & (1 << *scope as u8) != 0).map(Scope::name)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

impl std::str::FromStr for Scopes {
    type Err = String;

    /// Reads names separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_all(text.split(',').map(str::trim))
            .ok_or_else(|| format!("expected {}", ScopeList::allowed()))
    }
}

/// The written form of a set of scopes that is not empty: names separated by commas.
pub struct ScopeList;

impl Form for ScopeList {
    type Value = Scopes;

    fn allowed() -> String {
        format!("one or more of {}, separated by commas", Scope::NAMES.join(", "))
    }

    fn schema() -> Json {
        let name = format!(" *({}) *", Scope::NAMES.join("|"));
        json!({"type": "string", "pattern": format!("^{name}(,{name})*$")})
    }

    fn read(json: &Json) -> Option<Scopes> {
        json.as_str()?.parse().ok()
    }

    fn write(value: &Scopes) -> Json {
        value.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_its_scopes_and_admin_allows_all() {
        let scopes: Scopes = "read, recognize".parse().unwrap();
        assert_eq!(scopes.to_string(), "recognize,read");
        assert!(scopes.allow(Scope::Recognize) && scopes.allow(Scope::Read));
        assert!(!scopes.allow(Scope::Evaluate) && !scopes.allow(Scope::Admin));
        let admin: Scopes = "admin".parse().unwrap();
        assert!(Scopes::ALL.into_iter().all(|scope| admin.allow(scope)));
        assert!("recognise".parse::<Scopes>().is_err() && "".parse::<Scopes>().is_err());
        assert_eq!(Scopes::of_known(["openid", "evaluate"]).to_string(), "evaluate");
    }
}
