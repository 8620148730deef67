//! Frames as a hostile publisher would have them passed on.

use proptest::prelude::*;

use super::*;

const METHOD: &[u8] = &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 60, 0xCE];
const HEARTBEAT: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0xCE];

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn field(key: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(key), [kind].as_slice(), value].concat()
}

fn frame(flags: u16, properties: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], flags.to_be_bytes().as_slice(), properties].concat();
    [&[HEADER_FRAME, 0, 1], long(&payload).as_slice(), &[0xCE]].concat()
}

fn cleaned(input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    Cleaner::default().push(input, &mut output);
    output
}

#[track_caller]
fn check(input: &[u8], expected: &[u8]) {
    let around = |middle: &[u8]| [METHOD, middle, HEARTBEAT].concat();
    assert_eq!(cleaned(&around(input)), around(expected));
    // The same in pieces of one byte.
    let mut cleaner = Cleaner::default();
    let mut output = Vec::new();
    for byte in around(input) {
        cleaner.push(&[byte], &mut output);
    }
    assert_eq!(output, around(expected));
}

#[test]
fn honest_properties_pass() {
    let headers =
        long(&[field(b"ce-id", b'S', &long(b"1")), field(DELIVERY_COUNT, b'l', &[0, 0, 0, 0, 0, 0, 0, 2])].concat());
    let properties = [short(b"application/json"), headers, vec![2], vec![0; 8], short(b"upstream")].concat();
    let honest = frame(0x8000 | 0x2000 | 0x1000 | 0x0040 | 0x0010, &properties);
    check(&honest, &honest);
    check(&frame(0, &[]), &frame(0, &[]));
}

#[test]
fn text_that_is_none_is_left_out() {
    check(&frame(0x8000 | 0x4000, &[short(b"\xFF"), short(b"gzip")].concat()), &frame(0x4000, &short(b"gzip")));
    let keys = [field(b"\xFF", b'S', &long(b"v")), field(b"k", b'S', &long(b"v"))].concat();
    check(&frame(0x2000, &long(&keys)), &frame(0x2000, &long(&field(b"k", b'S', &long(b"v")))));
}

#[test]
fn nested_and_odd_values_are_left_out() {
    let mut nested = long(b"");
    for _ in 0..20_000 {
        nested = long(&field(b"", b'F', &nested));
    }
    let text = field(b"k", b'S', &long(b"v"));
    let odd = [
        field(b"deep", b'F', &nested),
        field(b"x-death", b'A', &long(&[b'V'; 100])),
        field(DELIVERY_COUNT, b'S', &long(b"9")),
        field(DELIVERY_COUNT, b'F', &long(b"")),
        field(b"n", b'l', &[0; 8]),
        text.clone(),
        field(b"unknown", b'?', b"no end"),
        text.clone(),
    ];
    let expected = [field(DELIVERY_COUNT, b'S', &long(b"9")), text].concat();
    check(&frame(0x2000, &long(&odd.concat())), &frame(0x2000, &long(&expected)));
}

#[test]
fn properties_that_cannot_be_read_are_left_out_whole() {
    check(&frame(0x8000, &[200, b'x']), &frame(0, &[]));
    check(&frame(0x2000, &[0xFF, 0xFF, 0xFF, 0xFF, 1]), &frame(0, &[]));
    check(&frame(0xFFFF, &[]), &frame(0, &[]));
}

#[test]
fn what_is_no_content_header_passes() {
    check(b"", b"");
    assert_eq!(cleaned(b"AMQP\0\0\x09\x01"), b"AMQP\0\0\x09\x01");
    let body = [&[3, 0, 1], long(&[2; 300]).as_slice(), &[0xCE]].concat();
    check(&body, &body);
    let tiny = [&[HEADER_FRAME, 0, 1], long(b"x").as_slice(), &[0xCE]].concat();
    check(&tiny, &tiny);
    // One byte of flags: the end octet was read as the other, and the frame grew by it.
    let short = [&[HEADER_FRAME, 0, 1], long(&[0; 13]).as_slice(), &[0xCE]].concat();
    check(&short, &short);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_and_clean_frames_stay(flags: u16, properties: Vec<u8>, noise: Vec<u8>) {
        cleaned(&noise);
        let once = cleaned(&frame(flags, &properties));
        prop_assert_eq!(cleaned(&once), once);
    }
}
