//! A JSON value with its numbers as written: what rules look at and digests are taken over. It is read by
//! [`crate::contract::json`]; nothing here parses.

/// One value. Objects keep their members in the order they came; names are unique once the reader has passed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written: never a float inside.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The member of an object; `None` for a missing one and for what is no object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value at a dotted path; `null` anywhere on the way counts as missing.
    pub fn at(&self, path: &str) -> Option<&Json> {
        let found = path.split('.').try_fold(self, |value, name| value.get(name))?;
        (*found != Json::Null).then_some(found)
    }

    /// The text at a path.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        match self.at(path)? {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}
