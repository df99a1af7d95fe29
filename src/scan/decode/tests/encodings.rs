use super::*;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let mut block = [0; 4];
        block[1..=three.len()].copy_from_slice(three);
        let value = u32::from_be_bytes(block);
        for digit in 0..4 {
            let index = (value >> (18 - 6 * digit)) & 63;
            let padding = digit > three.len();
            out.push(if padding {
                '='
            } else {
                STANDARD[index as usize].into()
            });
        }
    }
    out
}

pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\n")
}

fn hex(bytes: &[u8]) -> String {
    crate::text::hex(bytes)
}

fn secret() -> String {
    format!("key \u{fc}ber = {} and so on\n", needle())
}

#[test]
fn base64_is_decoded_at_any_width() {
    let encoded = base64(secret().as_bytes());
    for width in [1, 2, 3, 4, 5, 7, 10, 13, 60, 64, 76, 1000] {
        let text = wrapped(&encoded, width);
        finds(text.as_bytes());
        finds(format!("before\n{text}\nafter\n").as_bytes());
        finds(text.replace('\n', "\r\n").as_bytes());
    }
}

#[test]
fn base64_is_decoded_behind_anything_that_wraps_it() {
    let lines = wrapped(&base64(&secret().repeat(3).into_bytes()), 32);
    for (between, before, after) in [
        ("\n    ", "data: |\n    ", "\nnext: 1\n"),
        ("\n ", "gpgsig -----BEGIN\n ", "\n"),
        ("\n# ", "# ", "\n"),
        ("\n// ", "// ", "\n"),
        ("\n * ", "/*\n * ", "\n */"),
        ("\n> ", "> ", "\n"),
        ("\" +\n  \"", "x = \"", "\";"),
        ("'\\\n  '", "x = '", "'"),
        ("\",\n  \"", "[\"", "\"]"),
        ("\\n", "{\"key\": \"", "\"}"),
        ("\\r\\n", "\"", "\""),
        ("\n", "key: ", "</data>"),
        ("\n", "token\n", ""),
        ("\n+", "+", "\n"),
        ("\n-", "-", "\n"),
        ("\n//", "//", "\n"),
        ("\n///", "///", "\n"),
        ("\n#", "#", "\n"),
        ("\n*", "/*\n*", "\n*/"),
    ] {
        let text = format!("{before}{}{after}", lines.replace('\n', between));
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
    let hex = wrapped(&hex(secret().as_bytes()), 16);
    for sign in ["+", "-", "//", "# "] {
        let text = format!("{sign}{}\n", hex.replace('\n', &format!("\n{sign}")));
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
}

#[test]
fn base64_whose_lines_are_encoded_each_on_its_own_is_decoded() {
    for width in [1, 4, 10, 16] {
        let lines: Vec<String> = secret().as_bytes().chunks(width).map(base64).collect();
        finds(lines.join("\n").as_bytes());
        finds(format!("x = [\"{}\"]", lines.join("\",\n \"")).as_bytes());
    }
}

#[test]
fn padding_in_front_of_base64_does_not_hide_it() {
    let text = wrapped(&base64(secret().as_bytes()), 12);
    for before in ["abcdefghijkl\nab==\na\n", "abcdefghijkl\nab==\nabc\n"] {
        finds(format!("{before}{text}").as_bytes());
    }
}

#[test]
fn base64_that_gitleaks_gives_up_on_is_decoded() {
    // Not aligned, not printable, without padding, with the url alphabet, compressed, wide.
    let url = base64(secret().as_bytes())
        .replace('+', "-")
        .replace('/', "_");
    for text in [
        format!("https://host/x/{}", url.trim_end_matches('=')),
        format!("a1{url}"),
        base64(&gzip(needle().as_bytes())),
        base64(
            &needle()
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>(),
        ),
        base64(base64(base64(secret().as_bytes()).as_bytes()).as_bytes()),
    ] {
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
}

#[test]
fn base32_is_decoded() {
    let encoded = String::from_utf8(fixture("line.base32")).unwrap();
    finds(encoded.as_bytes());
    finds(wrapped(&encoded, 20).as_bytes());
}

#[test]
fn hex_is_decoded_wrapped_and_spaced() {
    let digits = hex(secret().as_bytes());
    let pairs = |separator: &str| wrapped(&digits, 2).replace('\n', separator);
    for text in [
        digits.clone(),
        wrapped(&digits, 60),
        wrapped(&digits, 2),
        digits.to_uppercase(),
        pairs(" "),
        pairs(":"),
        pairs("-"),
        format!("x = {{ 0x{} }};", pairs(", 0x")),
        format!("x = [\n  0x{}\n]", pairs(",\n  0x")),
        format!("x = [0x{}\n]", pairs(",\n  0x")),
        format!("x = \"{}\"", pairs(" ")),
        wrapped(&pairs(" "), 48),
    ] {
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
}

#[test]
fn a_damaged_stream_in_digits_is_scanned_as_far_as_it_goes() {
    let whole = gzip(&[secret().as_bytes(), &noise(3000)].concat());
    for damaged in [&whole[..whole.len() - 1000], &whole[..whole.len() - 1]] {
        refuses(damaged);
        finds(hex(damaged).as_bytes());
    }
}

#[test]
fn the_magic_numbers_and_test_data_of_programs_refuse_nothing() {
    let values = |bytes: &[u8]| {
        let values: Vec<String> = bytes.iter().map(|b| format!("{b:#04x}")).collect();
        format!("const DATA: &[u8] = &[{}];\n", values.join(", "))
    };
    let zip = super::archives::zipped();
    for bytes in [
        &b"7z\xbc\xaf\x27\x1c\0\x04"[..],
        b"Rar!\x1a\x07\x01\0",
        b"\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0",
        b"\x5a\x2a\x4d\x18\x03\0\0\0abc",
        b"PK\x03\x04PK\x05\x06PK\x01\x02",
        &zip[..zip.len() - 40],
    ] {
        let (_, result) = seen_within(values(bytes).as_bytes(), &Limits::default());
        assert!(result.is_ok(), "{bytes:?}: {result:?}");
    }
    let archive = [b"7z\xbc\xaf\x27\x1c\0\x04", noise(60).as_slice()].concat();
    assert!(refuses(values(&archive).as_bytes()).contains("7z"));
}

#[test]
fn dumps_are_decoded() {
    for kind in ["xxd", "hexdump", "canonical", "od", "octal", "decimal"] {
        let text = String::from_utf8(fixture(&format!("line.{kind}"))).unwrap();
        assert!(seen(text.as_bytes()).holds(&needle()), "{kind}:\n{text}");
    }
    let list: Vec<String> = secret().bytes().map(|byte| byte.to_string()).collect();
    finds(format!("String.fromCharCode({})", list.join(",")).as_bytes());
}

#[test]
fn a_list_of_values_is_decoded_wherever_it_stands_in_a_line() {
    let list = |each: &dyn Fn(u8) -> String, between: &str| {
        let values: Vec<String> = needle().bytes().map(each).collect();
        values.join(between)
    };
    let decimal = list(&|b| b.to_string(), ",");
    let prefixed = list(&|b| format!("{b:#04x}"), ", ");
    let pairs = list(&|b| format!("{b:02x}"), " ");
    let far = "a name ".repeat(20);
    for text in [
        format!("{{\"type\":\"Buffer\",\"data\":[{decimal}]}}"),
        format!("key := []byte{{{prefixed}}}"),
        format!("static const unsigned char key[] = {{{prefixed}}};"),
        format!("token(1, 2) = bytes([{decimal}]).decode()"),
        format!("f([1, 2, 3, 4], String.fromCharCode({decimal}))"),
        format!("f([1,2,3,4,5,6,7,8,9,10,11,12,13,14], [{decimal}])"),
        format!("data: {pairs}"),
        format!("echo {pairs} | xxd -r -p"),
        format!("bad: {pairs} bad"),
        format!("{far}[{decimal}]"),
        format!("key = [{}]", decimal.replace(',', ",\n  ")),
        format!(
            "// {}",
            pairs
                .replace(" 4e ", "\n// 4e ")
                .replace(" 34 ", "\n// 34 ")
        ),
    ] {
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
}

#[test]
fn escapes_are_resolved() {
    let each = |f: &dyn Fn(u8) -> String| needle().bytes().map(f).collect::<String>();
    let whole = needle();
    let (head, tail) = whole.split_at(11);
    for text in [
        each(&|b| format!("\\x{b:02x}")),
        each(&|b| format!("\\\\x{b:02X}")),
        each(&|b| format!("\\{b:03o}")),
        each(&|b| format!("&#{b};")),
        each(&|b| format!("&#x{b:x};")),
        each(&|b| format!("&#{b:04};")),
        each(&|b| format!("\\u{{{b:x}}}")),
        each(&|b| format!("\\U{b:08x}")),
        each(&|b| format!("={b:02X}")),
        format!("%00{}", each(&|b| format!("%{b:02x}"))),
        format!("\\u00fc {}", each(&|b| format!("\\u{b:04x}"))),
        format!("{}\\x{:02x}{}", head, tail.as_bytes()[0], &tail[1..]),
        format!("{head}={:02X}{}", tail.as_bytes()[0], &tail[1..]),
        format!("{head}\\\n{tail}"),
        format!("{head}\\\r\n    {tail}"),
        format!("{head}=\n{tail}"),
        format!("{head}=\r\n{tail}"),
    ] {
        let text = format!("first\nsecret: {text}\nlast\n");
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
    assert!(seen(br#""wJalr\/K7MDENG\/bPx""#).holds("wJalr/K7MDENG/bPx"));
}

#[test]
fn ordinary_text_costs_no_further_view() {
    let source = include_str!("../walk.rs");
    let lock = "  \"integrity\": \"sha512-";
    for text in [
        source,
        lock,
        "a = 1\nb = a\nif a == b:\n    print('x\\n')\n",
    ] {
        assert_eq!(seen(text.as_bytes()).0.len(), 1);
    }
}

#[test]
fn large_encoded_content_is_decoded_whole() {
    let text = [noise(MEMORY_LIMIT), secret().into_bytes(), noise(1000)].concat();
    let text = wrapped(&base64(&gzip(&text)), 76);
    let mut seen = Seen::default();
    let mut budget = super::budget(&Limits::default());
    views(
        Content::Stream(&mut text.as_bytes()),
        &mut budget,
        &mut seen,
    )
    .unwrap();
    assert!(seen.holds(&needle()));
}

#[test]
fn a_list_on_one_line_is_decoded_whole_wherever_a_window_ends() {
    let content = gzip(format!("{}{}", hex(&noise(100_000)), secret()).as_bytes());
    let before = " ".repeat(MEMORY_LIMIT) + "\n";
    let lists: [fn(&[u8]) -> String; 3] = [
        |word| word.iter().map(|b| format!("{b},")).collect(),
        |word| word.iter().map(|b| format!("\\x{b:02x}")).collect(),
        |word| format!("{} ", hex(word)),
    ];
    for (list, shift) in lists
        .iter()
        .flat_map(|list| (0..4).map(move |at| (list, at)))
    {
        let list: String = content.chunks(2).map(list).collect();
        let text = format!("{before}{:shift$}[ {list}]\n", "");
        let mut seen = Seen::default();
        let mut budget = super::budget(&Limits::default());
        let stream = Content::Stream(&mut text.as_bytes());
        views(stream, &mut budget, &mut seen).unwrap();
        assert!(seen.holds(&needle()), "{} by {shift}", &list[..20]);
    }
}

#[test]
fn backslashes_are_no_layers() {
    let many = "\\".repeat(60);
    finds(format!("a {many}/ b {}{many}x41", needle()).as_bytes());
    finds(format!("{}{many}\n{}", &needle()[..9], &needle()[9..]).as_bytes());
}

#[test]
fn a_text_that_is_encoded_too_often_is_refused() {
    let mut text = secret().into_bytes();
    for _ in 0..7 {
        text = base64(&text).into_bytes();
    }
    let error = seen_within(&text, &Limits::default()).1.unwrap_err();
    assert!(
        error.to_string().contains("encoded more than 5 times"),
        "{error}"
    );
}
