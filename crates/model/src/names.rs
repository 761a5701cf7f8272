//! Names that people give, and ids that systems give. A name can come back with another id (a recreated topic,
//! a restored table), so positions are kept by id, never by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that breaks the rule for its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no {kind}: {rule}")]
pub struct BadName {
    /// What was written.
    pub name: String,
    /// The kind of name that was expected.
    pub kind: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                name.parse()
            }
        }
    };
}

text_name! {
    /// Name of a Kafka topic: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`.
    TopicName
}
impl FromStr for TopicName {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.chars().all(legal) {
            let rule = "1 to 249 letters, digits, `.`, `_`, `-`";
            return Err(BadName { name: name.to_owned(), kind: "topic name", rule });
        }
        Ok(Self(name.to_owned()))
    }
}

text_name! {
    /// Name of a project: prefixes groups, transactional ids and internal topics.
    ProjectName
}
impl FromStr for ProjectName {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > 60 || !name.chars().all(legal) {
            let rule = "1 to 60 lowercase letters, digits, `_`, `-`";
            return Err(BadName { name: name.to_owned(), kind: "project name", rule });
        }
        Ok(Self(name.to_owned()))
    }
}

text_name! {
    /// The id a broker gave a topic when it was created. A recreated topic has another.
    TopicId
}
impl FromStr for TopicId {
    type Err = BadName;
    fn from_str(id: &str) -> Result<Self, BadName> {
        check_id(id, "topic id").map(Self)
    }
}

text_name! {
    /// The id in a Delta table's Metadata. A recreated table has another.
    TableId
}
impl FromStr for TableId {
    type Err = BadName;
    fn from_str(id: &str) -> Result<Self, BadName> {
        check_id(id, "table id").map(Self)
    }
}

/// Ids are separated by slashes in an [`crate::AppId`], so they contain none.
fn check_id(id: &str, kind: &'static str) -> Result<String, BadName> {
    if id.is_empty() || id.contains('/') {
        return Err(BadName { name: id.to_owned(), kind, rule: "not empty, no `/`" });
    }
    Ok(id.to_owned())
}

/// `schema.table`: the place of a table in the lake. The schema is only a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    schema: String,
    table: String,
}
impl TableName {
    /// The part before the dot.
    pub fn schema(&self) -> &str {
        &self.schema
    }
    /// The part after the dot.
    pub fn table(&self) -> &str {
        &self.table
    }
    /// A table kept beside this one, such as `silver.x__deleted`.
    pub fn sibling(&self, suffix: &str) -> Self {
        Self { schema: self.schema.clone(), table: format!("{}__{suffix}", self.table) }
    }
    /// Path of the table below the lake's root.
    pub fn path(&self) -> String {
        format!("{}/{}", self.schema, self.table)
    }
}
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}
impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}
impl TryFrom<String> for TableName {
    type Error = BadName;
    fn try_from(name: String) -> Result<Self, BadName> {
        name.parse()
    }
}
impl FromStr for TableName {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        let part = |p: &str| {
            p.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        match name.split_once('.') {
            Some((schema, table)) if part(schema) && part(table) => {
                Ok(Self { schema: schema.to_owned(), table: table.to_owned() })
            }
            _ => Err(BadName {
                name: name.to_owned(),
                kind: "table name",
                rule: "`schema.table`, both of lowercase letters, digits and `_`",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_is_schema_dot_table() {
        let name: TableName = "silver.orders".parse().expect("valid");
        assert_eq!((name.schema(), name.table()), ("silver", "orders"));
        assert_eq!(name.sibling("deleted").to_string(), "silver.orders__deleted");
        for bad in ["orders", "a.b.c", "Silver.orders", "silver.", ".x", "silver.1x", "s.a-b"] {
            assert!(bad.parse::<TableName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_topic_name_follows_kafkas_rule() {
        assert!("lakepulse.cdc.orders-1_x".parse::<TopicName>().is_ok());
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(bad.parse::<TopicName>().is_err(), "{bad}");
        }
    }
}
