//! The rules file as it is written: YAML, strict. An unknown key is an error, and so is a key of the full form that is not
//! built yet ([`NotBuilt`]): a file never means less than it says. What it means is worked out in [`super::compile`].

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: Spanned<String>,
    pub(super) version: Spanned<String>,
    pub(super) settings: Settings,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Spanned<Group>>,
    #[serde(default)]
    pub(super) defaults: Defaults,
    #[serde(default)]
    pub(super) rules: Vec<Spanned<Rule>>,
    pub(super) fallback: Spanned<Fallback>,
    #[serde(default, rename = "tests")]
    _tests: Option<NotBuilt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    #[serde(default)]
    pub(super) time_zone: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) may_request: Option<MayRequest>,
    #[serde(default, rename = "may_review")]
    _may_review: Option<Anybody>,
    #[serde(default)]
    pub(super) managers: Vec<Spanned<String>>,
    pub(super) triage: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) reasons: Option<Vec<Spanned<String>>>,
    #[serde(default, rename = "notify")]
    _notify: Option<NotifyAssigned>,
    #[serde(default, rename = "expiry_warnings")]
    _expiry_warnings: Option<NotBuilt>,
    #[serde(default, rename = "deferral")]
    _deferral: Option<Deferral>,
}

/// Who may submit: everybody, or whoever one of the lists names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MayRequest {
    #[serde(default)]
    pub(super) any: bool,
    #[serde(default)]
    pub(super) users: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) teams: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Anybody {
    #[serde(rename = "any")]
    _any: Yes,
    #[serde(default, rename = "users")]
    _users: Option<NotBuilt>,
    #[serde(default, rename = "groups")]
    _groups: Option<NotBuilt>,
}

/// `true`: the other answer is not built yet.
#[derive(Debug)]
struct Yes;

impl<'de> Deserialize<'de> for Yes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? { Ok(Self) } else { Err(de::Error::custom("only `true` is built yet")) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NotifyAssigned {
    Assigned,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deferral {
    #[serde(rename = "confirmation")]
    _confirmation: NoConfirmation,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NoConfirmation {
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) members: Vec<Spanned<String>>,
}

/// What holds for every rule that does not say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    #[serde(default)]
    pub(super) quorum: Option<Spanned<QuorumText>>,
    #[serde(default, rename = "pick")]
    _pick: Option<PickAll>,
    #[serde(default)]
    pub(super) require: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default, rename = "remind_after")]
    _remind_after: Option<NotBuilt>,
    #[serde(default, rename = "escalate_after")]
    _escalate_after: Option<NotBuilt>,
    #[serde(default, rename = "review_within")]
    _review_within: Option<NotBuilt>,
    #[serde(default, rename = "on_deadline")]
    _on_deadline: Option<NotBuilt>,
}

/// Bounds on the date.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    #[serde(default)]
    pub(super) max_extension: Option<Spanned<String>>,
    #[serde(default, rename = "max_cumulative_extension")]
    _max_cumulative_extension: Option<NotBuilt>,
    #[serde(default, rename = "max_previous_exceptions")]
    _max_previous_exceptions: Option<NotBuilt>,
    #[serde(default, rename = "kev_due_date")]
    _kev_due_date: Option<NotBuilt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(rename = "match")]
    pub(super) conditions: BTreeMap<String, Spanned<Wanted>>,
    #[serde(default)]
    pub(super) levels: Option<Vec<Spanned<Level>>>,
    #[serde(default)]
    pub(super) reviewers: Option<Nobody>,
    #[serde(default)]
    pub(super) require: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default, rename = "auto")]
    _auto: Option<NotBuilt>,
    #[serde(default, rename = "remind_after")]
    _remind_after: Option<NotBuilt>,
    #[serde(default, rename = "escalate_after")]
    _escalate_after: Option<NotBuilt>,
    #[serde(default, rename = "review_within")]
    _review_within: Option<NotBuilt>,
    #[serde(default, rename = "on_deadline")]
    _on_deadline: Option<NotBuilt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fallback {
    #[serde(default)]
    pub(super) levels: Option<Vec<Spanned<Level>>>,
    #[serde(default)]
    pub(super) reviewers: Option<Nobody>,
    #[serde(default)]
    pub(super) require: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default, rename = "auto")]
    _auto: Option<NotBuilt>,
    #[serde(default, rename = "remind_after")]
    _remind_after: Option<NotBuilt>,
    #[serde(default, rename = "escalate_after")]
    _escalate_after: Option<NotBuilt>,
    #[serde(default, rename = "review_within")]
    _review_within: Option<NotBuilt>,
    #[serde(default, rename = "on_deadline")]
    _on_deadline: Option<NotBuilt>,
}

/// `reviewers: none`: deliberately unassigned.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nobody {
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    pub(super) reviewers: Reviewers,
    #[serde(default)]
    pub(super) quorum: Option<Spanned<QuorumText>>,
    #[serde(default, rename = "pick")]
    _pick: Option<PickAll>,
    #[serde(default, rename = "escalate_to")]
    _escalate_to: Option<NotBuilt>,
    #[serde(default, rename = "remind_after")]
    _remind_after: Option<NotBuilt>,
    #[serde(default, rename = "escalate_after")]
    _escalate_after: Option<NotBuilt>,
    #[serde(default, rename = "review_within")]
    _review_within: Option<NotBuilt>,
    #[serde(default, rename = "on_deadline")]
    _on_deadline: Option<NotBuilt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reviewers {
    #[serde(default)]
    pub(super) users: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    #[serde(default, rename = "fields")]
    _fields: Option<NotBuilt>,
}

/// `all`: everybody who is left reviews.
#[derive(Debug)]
struct PickAll;

impl<'de> Deserialize<'de> for PickAll {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "all" => Ok(Self),
            other => Err(de::Error::custom(format!("pick: {other} is not built yet; only `all` is"))),
        }
    }
}

/// `any`, `all` or a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum QuorumText {
    Any,
    All,
    Number(u64),
}

impl<'de> Deserialize<'de> for QuorumText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wanted::deserialize(deserializer)? {
            Wanted::Text(text) if text == "any" => Ok(Self::Any),
            Wanted::Text(text) if text == "all" => Ok(Self::All),
            Wanted::Number(text) => text.parse().map(Self::Number).map_err(de::Error::custom),
            _ => Err(de::Error::custom("quorum: expected any, all or a whole number")),
        }
    }
}

/// What a condition compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Bool(bool),
    Number(String),
    Text(String),
    AnyOf(Vec<Wanted>),
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WantedVisitor)
    }
}

struct WantedVisitor;

impl<'de> Visitor<'de> for WantedVisitor {
    type Value = Wanted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Wanted, E> {
        Ok(Wanted::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Wanted, E> {
        Ok(Wanted::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Wanted, E> {
        Ok(Wanted::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Wanted, E> {
        Ok(Wanted::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Wanted, E> {
        Ok(Wanted::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Wanted, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Wanted>()? {
            if matches!(item, Wanted::AnyOf(_)) {
                return Err(de::Error::custom("a list of lists cannot be compared with"));
            }
            list.push(item);
        }
        Ok(Wanted::AnyOf(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Wanted, A::Error> {
        let operator = members.next_key::<String>()?.unwrap_or_default();
        Err(de::Error::custom(format!("the operator `{operator}` is not built yet; equality, lists and globs are")))
    }
}

/// A key of the full form that this version does not act on. Refused wherever it stands.
#[derive(Debug)]
pub(super) struct NotBuilt;

impl<'de> Deserialize<'de> for NotBuilt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer)?;
        Err(de::Error::custom("this key is not built yet; remove it"))
    }
}
