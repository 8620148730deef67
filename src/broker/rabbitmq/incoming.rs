//! What came from `RabbitMQ`, as the port says it. Everything here was chosen by whoever published it: odd types, nested
//! tables and text that is none are left out, and nothing is trusted.

use std::collections::BTreeMap;

use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::broker::{Delivery, Properties};

/// More headers than any honest publisher has; the rest is left out.
pub(super) const HEADERS_MAX: usize = 64;
/// Bytes of one header's value: the longest one that is read is a trace context of 512. A longer one is left out.
pub(super) const HEADER_BYTES_MAX: usize = 1_024;
/// Set by quorum queues from the second delivery on.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// A delivery with its place on its channel.
#[derive(Debug)]
pub(super) struct Received {
    /// The delivery tag.
    pub(super) tag: u64,
    /// What came.
    pub(super) delivery: Delivery,
}

/// Converts. `earlier_min` is what the queue it came from says of itself: what was dead-lettered was delivered before.
pub(super) fn received(message: lapin::message::Delivery, earlier_min: u32) -> Received {
    let properties = &message.properties;
    let headers = properties.headers().as_ref();
    let earlier = earlier_deliveries(headers, message.redelivered).max(earlier_min);
    let properties = Properties {
        content_type: text(properties.content_type().as_ref()),
        content_encoding: text(properties.content_encoding().as_ref()),
        user_id: text(properties.user_id().as_ref()),
        headers: headers.map(texts).unwrap_or_default(),
    };
    Received {
        tag: message.delivery_tag,
        delivery: Delivery { properties, body: message.data, earlier_deliveries: earlier },
    }
}

fn text(value: Option<&ShortString>) -> Option<String> {
    value.map(ToString::to_string)
}

fn texts(headers: &FieldTable) -> BTreeMap<String, String> {
    headers
        .inner()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), header_text(value)?.to_owned())))
        .take(HEADERS_MAX)
        .collect()
}

fn header_text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
    .filter(|text| text.len() <= HEADER_BYTES_MAX)
}

/// The broker's count; where it gives none or no number, only whether it was delivered before. On a first delivery the
/// header is the publisher's own: believed, it would have each of its messages processed alone.
fn earlier_deliveries(headers: Option<&FieldTable>, redelivered: bool) -> u32 {
    if !redelivered {
        return 0;
    }
    let counted = headers.and_then(|headers| headers.inner().get(DELIVERY_COUNT)).and_then(whole_number);
    counted.unwrap_or(1)
}

fn whole_number(value: &AMQPValue) -> Option<u32> {
    let number = match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    };
    u32::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::types::{FieldArray, LongString};

    use super::*;

    fn message(headers: FieldTable, redelivered: bool) -> lapin::message::Delivery {
        let mut message = lapin::message::Delivery::mock(7, "".into(), "".into(), redelivered, b"body".to_vec());
        message.properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_user_id("upstream".into())
            .with_headers(headers);
        message
    }

    fn headers(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert(ShortString::from(*name), value.clone());
        }
        table
    }

    #[test]
    fn text_headers_are_kept_and_others_are_not() {
        let table = headers(&[
            ("ce-id", AMQPValue::LongString("1".into())),
            ("short", AMQPValue::ShortString("s".into())),
            ("latin", AMQPValue::LongString(LongString::from(vec![0xE4_u8]))),
            ("long", AMQPValue::LongString("x".repeat(HEADER_BYTES_MAX + 1).into())),
            ("number", AMQPValue::LongInt(1)),
            ("x-death", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void]))),
            ("table", AMQPValue::FieldTable(headers(&[("a", AMQPValue::Void)]))),
        ]);
        let received = received(message(table, false), 0);
        assert_eq!(received.tag, 7);
        assert_eq!(received.delivery.body, b"body");
        let properties = received.delivery.properties;
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        assert_eq!(properties.user_id.as_deref(), Some("upstream"));
        assert_eq!(properties.content_encoding, None);
        let kept: Vec<_> = properties.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(kept, [("ce-id", "1"), ("short", "s")]);
    }

    #[test]
    fn the_number_of_headers_is_bounded() {
        let mut table = FieldTable::default();
        for number in 0..1_000 {
            table.insert(format!("h{number}").into(), AMQPValue::LongString("v".into()));
        }
        assert_eq!(received(message(table, false), 0).delivery.properties.headers.len(), HEADERS_MAX);
    }

    #[test]
    fn earlier_deliveries_are_read_whatever_the_type() {
        #[track_caller]
        fn check(value: Option<AMQPValue>, redelivered: bool, dead: bool, expected: u32) {
            let table = value.map(|value| headers(&[(DELIVERY_COUNT, value)])).unwrap_or_default();
            let earlier_min = if dead { 2 } else { 0 };
            assert_eq!(received(message(table, redelivered), earlier_min).delivery.earlier_deliveries, expected);
        }
        check(None, false, false, 0);
        check(None, true, false, 1);
        check(None, false, true, 2);
        check(Some(AMQPValue::LongLongInt(3)), true, false, 3);
        check(Some(AMQPValue::LongLongInt(3)), true, true, 3);
        check(Some(AMQPValue::ShortShortUInt(2)), true, false, 2);
        check(Some(AMQPValue::LongUInt(u32::MAX)), true, false, u32::MAX);
        check(Some(AMQPValue::LongLongInt(-1)), true, false, 1);
        check(Some(AMQPValue::LongLongInt(i64::MAX)), true, false, 1);
        check(Some(AMQPValue::LongString("9".into())), false, false, 0);
        check(Some(AMQPValue::LongLongInt(9)), false, false, 0);
        check(Some(AMQPValue::FieldTable(FieldTable::default())), true, false, 1);
    }
}
