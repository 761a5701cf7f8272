//! One line of the report.

use std::fmt;

use serde::Serialize;

use crate::mask::masked;

/// The result of a check, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Fine.
    Ok,
    /// Nothing is lost, but an operator should know.
    Warn,
    /// Records can be lost, or nothing works.
    Fail,
}

/// One check: its subject, what was found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `service.subject`; the same words in every report.
    pub check: &'static str,
    /// The topic, subject or folder, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The result.
    pub verdict: Verdict,
    /// What was found.
    pub seen: String,
    /// What to do, unless the verdict is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}
impl Check {
    /// A check that passed.
    pub fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, of: None, verdict: Verdict::Ok, seen: masked(&seen.into()), todo: None }
    }
    /// A check with something worth knowing.
    pub fn warn(check: &'static str, seen: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, todo: Some(todo.into()), ..Self::ok(check, seen) }
    }
    /// A check that failed: do not run like this.
    pub fn fail(check: &'static str, seen: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(check, seen, todo) }
    }
    /// The same check, for one of several subjects.
    pub fn of(mut self, of: impl Into<String>) -> Self {
        self.of = Some(of.into());
        self
    }
}

/// `fail  topic.retention  shop.orders: …; what to do`.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        write!(f, "{word:<5} {:<22} ", self.check)?;
        if let Some(of) = &self.of {
            write!(f, "{of}: ")?;
        }
        f.write_str(&self.seen)?;
        match &self.todo {
            Some(todo) => write!(f, "; {todo}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_where_and_what_to_do() {
        let check = Check::fail("topic.retention", "keeps records for 1m", "raise it").of("shop.orders");
        assert_eq!(
            check.to_string(),
            "fail  topic.retention        shop.orders: keeps records for 1m; raise it"
        );
        assert_eq!(Check::ok("kafka.reach", "1 broker").to_string(), "ok    kafka.reach            1 broker");
    }
}
