//! What the broker passes on: however it is cut into pieces the same comes out; clean twice is clean once; only content headers
//! change, and lapin's own parser reads what is left of them.

use amq_protocol::frame::{AMQPFrame, parse_frame};

use crate::sources::broker::rabbitmq::cleaned;

/// The first byte says how the rest is meant: as a stream, or as the properties of a content header.
pub fn frames(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    if how % 2 == 0 {
        stream(rest, usize::from(*how / 2) + 1);
    } else {
        header(rest);
    }
}

fn stream(stream: &[u8], piece: usize) {
    let once = cleaned([stream]);
    assert_eq!(once, cleaned(stream.chunks(piece)), "the pieces make a difference");
    assert_eq!(once, cleaned([once.as_slice()]), "clean twice is not clean once");
    assert!(once.len() <= stream.len(), "it grew from {} to {}", stream.len(), once.len());
}

fn header(properties: &[u8]) {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    payload.extend_from_slice(properties);
    let mut frame = vec![2, 0, 1];
    frame.extend_from_slice(&u32::try_from(payload.len()).expect("fuzzers make short inputs").to_be_bytes());
    frame.extend_from_slice(&payload);
    frame.push(0xCE);
    stream(&frame, 7);
    let clean = cleaned([frame.as_slice()]);
    if properties.len() < 2 {
        return;
    }
    match parse_frame(clean.as_slice()) {
        Ok((rest, AMQPFrame::Header(1, header))) => {
            assert!(rest.is_empty(), "something is left over");
            assert_eq!(header.body_size, 5, "another size");
        }
        other => panic!("lapin cannot read it: {other:?}"),
    }
}
