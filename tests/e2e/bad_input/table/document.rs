//! Bytes, encoding, JSON: what is wrong before anything is understood.

use super::{Outcome, Table};

const BODY_BYTES_MAX: usize = 256 * 1024;

pub(super) fn add(table: &mut Table) {
    size(table);
    encoding(table);
    syntax(table);
    depth(table);
    names(table);
}

fn size(table: &mut Table) {
    table.section = "Size";
    let padded = |good: &str, length: usize| format!("{good}{}", " ".repeat(length - good.len()));
    table.text("a body of exactly 256 KiB", Outcome::Applied, &[&|good| padded(good, BODY_BYTES_MAX)]);
    table.unreadable("a body of 256 KiB and one byte, of 300 KiB", "too_large", |good| {
        vec![padded(good, BODY_BYTES_MAX + 1), padded(good, 300 * 1024)]
    });
    table.unreadable("too large, and not even UTF-8", "too_large", |_| vec![vec![0xff; BODY_BYTES_MAX + 1]]);
}

fn encoding(table: &mut Table) {
    table.section = "Encoding";
    let cut_at = |good: &str, character: char| good.replacen("OpenSSL", &character.to_string(), 1);
    table.unreadable("a byte that is not UTF-8", "bad_encoding", |good| {
        let mut inside = good.as_bytes().to_vec();
        let at = good.find("OpenSSL").unwrap();
        inside[at] = 0xff;
        vec![inside, vec![0xc3, 0x28], vec![0xff]]
    });
    table.unreadable("cut inside a character", "bad_encoding", |good| {
        let (two, four) = (cut_at(good, 'Ö'), cut_at(good, '😀'));
        let (at_two, at_four) = (two.find('Ö').unwrap(), four.find('😀').unwrap());
        let mut cuts = vec![two.as_bytes()[..=at_two].to_vec()];
        cuts.extend((1..4).map(|n| four.as_bytes()[..at_four + n].to_vec()));
        cuts
    });
    table.unreadable("overlong UTF-8, a surrogate in UTF-8", "bad_encoding", |good| {
        [&b"\xc0\xaf"[..], b"\xed\xa0\x80"]
            .map(|bytes| {
                let (before, after) = good.split_once("OpenSSL").unwrap();
                [before.as_bytes(), bytes, after.as_bytes()].concat()
            })
            .to_vec()
    });
    table.unreadable("UTF-16 with and without a byte order mark", "bad_encoding", |good| {
        let bytes =
            |mark: &str| -> Vec<u8> { format!("{mark}{good}").encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let big: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
        vec![bytes("\u{feff}"), bytes(""), big]
    });
    table.unreadable("a byte order mark before UTF-8", "bad_encoding", |good| vec![format!("\u{feff}{good}")]);
    table.unreadable("a lone surrogate, in a value or a name", "bad_encoding", |good| {
        ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\ud800", "\\udfff\\ud800"]
            .map(|escape| good.replacen("OpenSSL", escape, 1))
            .into_iter()
            .chain([good.replacen("\"title\"", "\"\\ud83d\"", 1)])
            .collect()
    });
    table.text(
        "characters of every plane, also as pairs of escapes",
        Outcome::Applied,
        &[&|good| good.replacen("OpenSSL", "Ö 漢 😀 \\ud83d\\ude00", 1), &|good| {
            good.replacen("OpenSSL", "\u{fffe}\u{e000}\u{10ffff}", 1)
        }],
    );
}

fn syntax(table: &mut Table) {
    table.section = "JSON";
    for (input, body) in [("an empty body", ""), ("a blank body", " \n\t ")] {
        table.unreadable(input, "bad_json", |_| vec![body]);
    }
    table.unreadable("cut at any byte", "bad_json", |good| (1..good.len()).map(|n| good[..n].to_owned()).collect());
    table.unreadable("two documents, trailing garbage", "bad_json", |good| {
        vec![
            format!("{good}{good}"),
            format!("{good}\n{good}"),
            format!("{good}x"),
            format!("{good}]"),
            format!("{good}//"),
        ]
    });
    table.unreadable(
        "what other readers let pass: comments, trailing commas, NaN, single quotes, bare names",
        "bad_json",
        |good| {
            vec![
                good.replacen('{', "{/* */", 1),
                format!("{},}}", &good[..good.len() - 1]),
                good.replacen("\"low\"", "NaN", 1),
                good.replacen("\"low\"", "'low'", 1),
                good.replacen("\"type\"", "type", 1),
                good.replacen("\"low\"", "01", 1),
                good.replacen("\"low\"", "+1", 1),
                good.replacen("\"low\"", ".5", 1),
                good.replacen("\"low\"", "0x10", 1),
                good.replacen("\"low\"", "True", 1),
            ]
        },
    );
    table.unreadable("a raw control character in a string, an unknown escape", "bad_json", |good| {
        ["a\nb", "a\tb", "a\u{1b}b", "\\x41", "\\u12", "\\u{41}"].map(|it| good.replacen("OpenSSL", it, 1)).to_vec()
    });
    table.unreadable("a body that is JSON but no object", "schema", |_| {
        vec!["[]", "42", "\"x\"", "null", "true", "-0.0e1"]
    });
    table.unreadable("the array form of a good event, also nested", "schema", |good| {
        vec![format!("[{good}]"), format!("[[{good}]]"), format!("[{good},{good}]")]
    });
    table.text(
        "white space around and inside, members in any order, escaped names",
        Outcome::Applied,
        &[
            &|good| format!("\r\n\t {} \n", good.replace(',', " ,\n")),
            &|good| good.replacen("\"specversion\":\"1.0\",", "", 1).replacen('{', "{\"specversion\":\"1.0\",", 1),
            &|good| good.replacen("\"title\"", "\"\\u0074itle\"", 1),
        ],
    );
}

fn depth(table: &mut Table) {
    table.section = "Nesting";
    let nested = |good: &str, levels: usize| {
        // The envelope and its data are two levels.
        let deep = format!("\"deep\":{}{},\"exception_id\"", "[".repeat(levels - 2), "]".repeat(levels - 2));
        good.replacen("\"exception_id\"", &deep, 1)
    };
    table.text("32 levels", Outcome::Applied, &[&|good| nested(good, 32)]);
    table.text("brackets inside a string", Outcome::Applied, &[&|good| good.replacen("OpenSSL", &"[{".repeat(100), 1)]);
    table.unreadable("33 levels", "too_deep", |good| vec![nested(good, 33)]);
    table.unreadable("100,000 opening brackets, of either kind", "too_deep", |_| {
        vec!["[".repeat(100_000), "{\"a\":".repeat(50_000)]
    });
    table.unreadable("too deep and no JSON", "too_deep", |_| vec!["[".repeat(33)]);
}

fn names(table: &mut Table) {
    table.section = "Names";
    let failed = Outcome::Failed("duplicate_key");
    let put = |good: &str, before: &str, text: &str| good.replacen(before, &format!("{text},{before}"), 1);
    table.unreadable("`id` or `source` twice", "duplicate_key", |good| {
        vec![
            put(good, "\"id\":\"b-", "\"id\":\"x\""),
            put(good, "\"source\"", "\"source\":\"x\""),
            put(good, "\"source\"", "\"sourc\\u0065\":\"x\""),
        ]
    });
    table.text(
        "a name twice in the envelope, also `data`, also a null, also spelled with an escape",
        failed,
        &[
            &|good| put(good, "\"type\"", "\"type\":\"x\""),
            &|good| put(good, "\"data\"", "\"data\":{}"),
            &|good| put(good, "\"specversion\"", "\"specversion\":null"),
            &|good| put(good, "\"type\"", "\"\\u0074ype\":\"x\""),
            &|good| put(good, "\"data\"", "\"other\":1,\"other\":1"),
        ],
    );
    table.text(
        "a name twice in `data`, in an inner object, in an object in a list, below `custom`",
        failed,
        &[
            &|good| put(good, "\"exception_id\"", "\"exception_id\":\"EX-0\""),
            &|good| put(good, "\"title\"", "\"title\":\"OpenSSL\""),
            &|good| put(good, "\"title\"", "\"\\u0074itl\\u0065\":\"x\""),
            &|good| put(good, "\"exception_id\"", "\"x\":[[{\"a\":1,\"a\":1}]]"),
            &|good| put(good, "\"exception_id\"", "\"custom\":{\"a\":{\"b\":1,\"b\":2}}"),
        ],
    );
    table.text(
        "the same name in two objects, names that differ in case",
        Outcome::Applied,
        &[&|good| put(good, "\"exception_id\"", "\"custom\":{\"a\":{\"a\":1},\"b\":{\"a\":1}}"), &|good| {
            put(good, "\"exception_id\"", "\"Exception_Id\":7")
        }],
    );
    table.text(
        "`\\u0000` in a name or a value, anywhere",
        Outcome::Failed("bad_text"),
        &[
            &|good| good.replacen("OpenSSL", "a\\u0000b", 1),
            &|good| put(good, "\"exception_id\"", "\"a\\u0000\":1"),
            &|good| put(good, "\"exception_id\"", "\"custom\":{\"a\":[\"\\u0000\"]}"),
            &|good| put(good, "\"data\"", "\"other\":\"\\u0000\""),
        ],
    );
    table.text(
        "empty names, very long ones, `__proto__`",
        Outcome::Applied,
        &[&|good| put(good, "\"exception_id\"", "\"\":1,\"__proto__\":{\"x\":1},\"constructor\":null"), &|good| {
            put(good, "\"exception_id\"", &format!("\"{}\":1", "n".repeat(10_000)))
        }],
    );
}
