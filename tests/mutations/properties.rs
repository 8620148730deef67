//! What holds for every message whatsoever that is handed to the decoder. Shared by the mutations and by the fuzz targets;
//! each property returns what is wrong instead of panicking, so that planted bugs can be told from real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::oracle::{self, Look, Sight};
use crate::contract::inbound::{BODY_BYTES_MAX, DECISION, Inbound, Message, SUBMITTED, UNREADABLE};
use crate::contract::reason::Reason;
use crate::domain::ids::{Digest, hex};
use crate::domain::json::Json;

/// What may be tested in place of the decoder.
pub(crate) type Decode = fn(&Message<'_>) -> Inbound;

/// Longest time for one input. The longest body takes some 20 ms unoptimised; anything quadratic takes minutes.
const TIME_MAX: Duration = Duration::from_secs(1);
/// A machine that is busy with other things gets this many chances.
const TIME_CHANCES: usize = 3;
/// Of a fault's message, with the mark of having been cut.
const MESSAGE_CHARS_MAX: usize = 301;

const STRUCTURED: &str = "application/cloudevents+json";
const BINARY: &str = "application/json";

/// Fields without which nothing may be accepted; all of them strings.
const REQUIRED: [(&str, &[&str]); 2] = [
    (
        SUBMITTED,
        &[
            "exception_id",
            "ticket.id",
            "ticket.title",
            "ticket.severity",
            "ticket.current_due_date",
            "requester.id",
            "reason",
            "requested_due_date",
        ],
    ),
    (DECISION, &["decision_id", "exception_id", "decision", "reviewer.id"]),
];
const IDS: [&str; 3] = ["exception_id", "ticket.id", "decision_id"];

/// A message of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Input {
    pub(crate) fn new(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type.to_owned()), body: body.into(), ..Self::default() }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message {
            content_type: self.content_type.as_deref(),
            content_encoding: self.content_encoding.as_deref(),
            headers: &self.headers,
            body: &self.body,
        }
    }

    fn mode(&self) -> Mode {
        let encoding = self.content_encoding.as_deref().unwrap_or_default().to_ascii_lowercase();
        if !matches!(encoding.as_str(), "" | "identity") {
            return Mode::Other;
        }
        let content_type = self.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        let mut parts = content_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let mut charsets = parts.filter_map(|part| (part == "charset").then_some("").or(part.strip_prefix("charset=")));
        if charsets.any(|charset| charset.trim_matches('"') != "utf-8") {
            return Mode::Other;
        }
        match essence {
            STRUCTURED => Mode::Structured,
            BINARY if self.attributes().is_some() => Mode::Binary,
            BINARY => Mode::Contradictory,
            _ => Mode::Other,
        }
    }

    /// What the headers say; `None` where two of them say different things about the same attribute.
    fn attributes(&self) -> Option<BTreeMap<String, String>> {
        let mut attributes = BTreeMap::new();
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            let Some(name) = name.strip_prefix("ce-").or_else(|| name.strip_prefix("cloudevents:")) else { continue };
            if attributes.insert(name.to_owned(), value.clone()).is_some_and(|other| other != *value) {
                return None;
            }
        }
        Some(attributes)
    }
}

/// As far as it can be told without knowing all rules about properties.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Structured,
    Binary,
    /// Binary, with headers of which two say different things.
    Contradictory,
    Other,
}

fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Everything. Returns what became of the input.
pub(crate) fn check(input: &Input, decode: Decode) -> Result<Option<Reason>, String> {
    let begun = Instant::now();
    let inbound = decode(&input.message());
    in_time(begun.elapsed(), input, decode)?;
    same_again(&inbound, &decode(&input.message()))?;
    identity(&inbound, input)?;
    let reason = inbound.content.as_ref().err().map(|fault| fault.reason);
    if let Err(fault) = &inbound.content {
        let plain = fault.message.chars().all(|c| !c.is_control());
        hold(plain, || format!("the message holds a control character: {:?}", fault.message))?;
        let length = fault.message.chars().count();
        hold(length <= MESSAGE_CHARS_MAX, || format!("the message has {length} characters"))?;
    }
    let sight = oracle::look(&input.body);
    rank(reason, input, &sight)?;
    if let Sight::Read(look) = &sight {
        if reason.is_none() {
            accepted(&inbound, input, look)?;
        }
        spellings(&inbound, reason, input, look, decode)?;
    }
    Ok(reason)
}

fn in_time(first: Duration, input: &Input, decode: Decode) -> Result<(), String> {
    let mut best = first;
    for _ in 1..TIME_CHANCES {
        if best <= TIME_MAX {
            break;
        }
        let begun = Instant::now();
        drop(decode(&input.message()));
        best = best.min(begun.elapsed());
    }
    hold(best <= TIME_MAX, || format!("it takes {} ms", best.as_millis()))
}

fn same_again(one: &Inbound, two: &Inbound) -> Result<(), String> {
    let (one, two) = (format!("{one:?}"), format!("{two:?}"));
    hold(one == two, || format!("decoded twice it differs: {one} {two}"))
}

/// Every input has one, whatever it is, and it can be stored.
fn identity(inbound: &Inbound, input: &Input) -> Result<(), String> {
    for text in [&inbound.source, &inbound.id] {
        let fits = (1..=256).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        hold(fits, || format!("no identity: {text:?}"))?;
    }
    let key = sha(&[&(inbound.source.len() as u64).to_be_bytes(), inbound.source.as_bytes(), inbound.id.as_bytes()]);
    hold(inbound.key == Digest::of_sha256(&key), || "the key is not that of (source, id)".to_owned())?;
    if inbound.source == UNREADABLE {
        let hash = hex(&sha(&[&input.body, input.content_type.as_deref().unwrap_or_default().as_bytes()]));
        hold(inbound.id == hash, || "an unreadable input is not known by its bytes".to_owned())?;
    }
    let stored = |text: &str| text.len() <= 1024 && !text.chars().any(char::is_control);
    hold(inbound.event_type.as_deref().is_none_or(stored), || format!("the type {:?}", inbound.event_type))?;
    hold(inbound.traceparent.as_deref().is_none_or(stored), || "the trace context".to_owned())
}

fn sha(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

/// The reasons in their order, as far as an outsider can tell them.
fn rank(reason: Option<Reason>, input: &Input, sight: &Sight) -> Result<(), String> {
    let wanted = |holds: bool, what: &str| hold(holds, || format!("{what}, and the reason is {reason:?}"));
    if input.body.len() > BODY_BYTES_MAX {
        return wanted(reason == Some(Reason::TooLarge), "too large");
    }
    wanted(reason != Some(Reason::TooLarge), "not too large")?;
    if input.content_encoding.as_deref().is_some_and(|encoding| encoding == "gzip") {
        return wanted(reason == Some(Reason::BadProperties), "compressed");
    }
    match input.mode() {
        Mode::Contradictory => return wanted(reason == Some(Reason::BadProperties), "contradictory headers"),
        Mode::Other => return wanted(reason.is_some_and(|reason| reason <= Reason::BadProperties), "neither mode"),
        Mode::Structured | Mode::Binary => wanted(reason != Some(Reason::BadProperties), "good properties")?,
    }
    match sight {
        Sight::NoText => wanted(reason == Some(Reason::BadEncoding), "no text"),
        Sight::NoJson => {
            let one = [Reason::BadEncoding, Reason::TooDeep, Reason::BadJson];
            wanted(reason.is_some_and(|reason| one.contains(&reason)), "no JSON")
        }
        // Further down a lone surrogate may stand that nobody looked for.
        Sight::Deep => wanted(matches!(reason, Some(Reason::TooDeep | Reason::BadEncoding)), "too deep"),
        Sight::Read(look) if look.duplicate => wanted(reason == Some(Reason::DuplicateKey), "a name stands twice"),
        Sight::Read(look) => match &look.value {
            Json::Object(_) => read(reason, input, look),
            _ => wanted(reason == Some(Reason::NoObject), "no object"),
        },
    }
}

/// The envelope's own reasons, of an object that can be read.
fn read(reason: Option<Reason>, input: &Input, look: &Look) -> Result<(), String> {
    let wanted = |holds: bool, what: &str| hold(holds, || format!("{what}, and the reason is {reason:?}"));
    let text = |name: &str| attribute(input, look, name);
    let known = |t: &String| t == SUBMITTED || t == DECISION;
    let stranger = [Reason::UnsupportedVersion, Reason::UnknownType];
    if text("specversion").as_deref() != Some("1.0") {
        return wanted(reason == Some(Reason::UnsupportedVersion), "another specversion");
    }
    if text("type").is_some_and(|t| !known(&t)) {
        return wanted(reason.is_some_and(|reason| stranger.contains(&reason)), "a type that is not known");
    }
    if look.nul {
        return wanted(reason == Some(Reason::BadText), "U+0000");
    }
    let one = [Reason::BadText, Reason::BadTime, Reason::Schema];
    wanted(reason.is_none_or(|reason| one.contains(&reason)), "a known type")
}

fn attribute(input: &Input, look: &Look, name: &str) -> Option<String> {
    if input.mode() == Mode::Binary {
        return input.attributes()?.remove(name);
    }
    look.value.text_at(name).map(str::to_owned)
}

/// What was accepted is whole, within its bounds, and known by the digest of its content.
fn accepted(inbound: &Inbound, input: &Input, look: &Look) -> Result<(), String> {
    hold(serde_json::from_slice::<serde::de::IgnoredAny>(&input.body).is_ok(), || "no JSON was accepted".to_owned())?;
    let content = inbound.content.as_ref().map_err(|fault| fault.message.clone())?;
    let data = if input.mode() == Mode::Binary { Some(&look.value) } else { look.value.get("data") };
    let Some(data) = data else { return Err("accepted without data".to_owned()) };
    let kept = match oracle::look(content.data.as_bytes()) {
        Sight::Read(kept) => kept.value,
        _ => return Err("the stored data is no JSON".to_owned()),
    };
    hold(kept == *data, || "the stored data is not what was sent".to_owned())?;
    let event_type = inbound.event_type.clone().unwrap_or_default();
    hold(attribute(input, look, "type").as_ref() == Some(&event_type), || "another type".to_owned())?;
    hold(attribute(input, look, "id").as_ref() == Some(&inbound.id), || "another id".to_owned())?;
    hold(attribute(input, look, "source").as_ref() == Some(&inbound.source), || "another source".to_owned())?;
    let canonical = oracle::canonical(data);
    let digest = sha(&[&(event_type.len() as u64).to_be_bytes(), event_type.as_bytes(), canonical.as_bytes()]);
    hold(inbound.digest == Digest::of_sha256(&digest), || "another digest".to_owned())?;
    let required = REQUIRED.iter().find(|(name, _)| *name == event_type).map(|(_, paths)| *paths).unwrap_or_default();
    hold(!required.is_empty(), || format!("the type {event_type:?} was accepted"))?;
    for path in required {
        hold(data.text_at(path).is_some(), || format!("accepted without {path}"))?;
    }
    for path in IDS {
        let allowed = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@+-".contains(&b));
        let fits = |text: &str| (1..=128).contains(&text.len()) && allowed(text);
        hold(data.text_at(path).is_none_or(fits), || format!("accepted with the {path} {:?}", data.text_at(path)))?;
    }
    bounded(data, true)
}

fn bounded(value: &Json, outermost: bool) -> Result<(), String> {
    match value {
        Json::Text(text) => hold(text.len() <= 4096, || format!("accepted with a text of {} bytes", text.len())),
        Json::List(items) => {
            hold(items.len() <= 1_000, || format!("accepted with a list of {}", items.len()))?;
            items.iter().try_for_each(|item| bounded(item, false))
        }
        Json::Object(members) => members.iter().try_for_each(|(name, member)| match member {
            Json::Text(text) if outermost && name == "justification" => {
                hold(text.len() <= 16 * 1024, || format!("accepted with a justification of {} bytes", text.len()))
            }
            member => bounded(member, false),
        }),
        _ => Ok(()),
    }
}

/// The same content in another order, layout, spelling or mode has the same key, digest and fate, also where it failed.
fn spellings(
    inbound: &Inbound,
    reason: Option<Reason>,
    input: &Input,
    look: &Look,
    decode: Decode,
) -> Result<(), String> {
    let one_of_these = reason.is_none_or(|reason| reason >= Reason::UnsupportedVersion);
    if look.duplicate || !one_of_these || inbound.source == UNREADABLE {
        return Ok(());
    }
    // One of three for each input: which, is the input's own.
    let Some(other) = respelled(input, look, inbound.digest.0.first().copied().unwrap_or_default() % 3) else {
        return Ok(());
    };
    let again = decode(&other.message());
    let fate = again.content.as_ref().err().map(|fault| fault.reason);
    let told =
        |what: &str| format!("{what} when spelled as {} {:?}", String::from_utf8_lossy(&other.body), other.headers);
    hold(again.key == inbound.key, || told("another key"))?;
    hold(again.digest == inbound.digest, || told("another digest"))?;
    hold(fate == reason, || told(&format!("{fate:?} in place of {reason:?}")))
}

fn respelled(input: &Input, look: &Look, way: u8) -> Option<Input> {
    let Json::Object(members) = &look.value else { return None };
    let structured = input.mode() == Mode::Structured;
    let (attributes, data) = if structured {
        let mut rest = members.clone();
        rest.retain(|(name, _)| name != "data");
        (rest, look.value.get("data")?.clone())
    } else {
        let named = input.attributes()?.into_iter().map(|(name, text)| (name, Json::Text(text)));
        (named.filter(|(name, _)| !name.starts_with("data")).collect(), look.value.clone())
    };
    let nul = attributes.iter().any(|(_, value)| matches!(value, Json::Text(text) if text.contains('\0')));
    // One mode says more than the other: U+0000 outside of what headers carry, one level of nesting, what else than an object.
    let convertible = !look.nul && !nul && look.depth < 32 && matches!(data, Json::Object(_));
    let whole = || Json::Object(attributes.iter().cloned().chain([("data".to_owned(), data.clone())]).collect());
    let other = match way {
        0 if structured || convertible => Input::new(STRUCTURED, oracle::canonical(&whole())),
        1 if structured || convertible => {
            Input::new("Application/CloudEvents+JSON; charset=\"UTF-8\"", oracle::respelled(&whole()))
        }
        2 if convertible => {
            let mut other = Input::new(BINARY, oracle::respelled(&data));
            let names: BTreeSet<&str> = ["specversion", "id", "source", "type", "time"].into();
            for (name, value) in attributes.iter().filter(|(name, _)| names.contains(name.as_str())) {
                let Json::Text(text) = value else { return None };
                other.headers.insert(format!("cloudEvents:{name}"), text.clone());
            }
            let told = |name: &str| attributes.iter().any(|(known, _)| known == name);
            (!told("data_base64")).then_some(other)?
        }
        _ => return None,
    };
    (other.body.len() <= BODY_BYTES_MAX).then_some(other)
}
