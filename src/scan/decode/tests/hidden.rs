//! What stands in other data without a header of its own, and text that only few tools write.

use flate2::{Compression, Crc};

use super::encodings::base64;
use super::*;

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn content() -> Vec<u8> {
    format!(
        "some text of a page\nkey = {}\n{}",
        needle(),
        "filler ".repeat(300)
    )
    .into_bytes()
}

#[test]
fn zlib_is_opened_anywhere() {
    for level in [1, 6, 9] {
        let stream = zlib(&content(), level);
        let dump = [
            b"PGDMP\x01\x0e\0".as_slice(),
            &noise(700),
            &stream,
            &noise(99),
        ]
        .concat();
        finds(&dump);
        // What opens of a damaged one is no less of a secret.
        finds(&dump[..dump.len() - 99 - 8]);
    }
}

#[test]
fn deflate_without_a_header_is_opened_as_a_file_and_in_base64() {
    let stream = deflated(&content());
    finds(&stream);
    finds(format!("<diagram>{}</diagram>", base64(&stream)).as_bytes());
}

#[test]
fn lzma_is_opened_anywhere() {
    let stream = fixture("content.lzma");
    finds(&[b"\x7fELF\0\0".as_slice(), &noise(500), &stream].concat());
}

#[test]
fn gzip_with_a_reserved_flag_is_opened() {
    let mut stream = gzip(&content());
    stream[3] |= 0x40;
    finds(&stream);
}

#[test]
fn streams_of_pdf_are_opened() {
    for (filters, stream) in [
        ("/FlateDecode", zlib(&content(), 6)),
        (
            "[/ASCII85Decode /FlateDecode]",
            fixture("content.zlib.ascii85"),
        ),
        ("/ASCII85Decode", fixture("content.ascii85")),
    ] {
        let head = format!("%PDF-1.7\n%\u{e2}\u{e3}\n4 0 obj\n<< /Filter {filters} >>\nstream\n");
        finds(&[head.as_bytes(), &stream, b"\nendstream\nendobj\n"].concat());
    }
}

/// A chunk of PNG; nobody looks at its checksum.
fn chunk(name: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&length, name, data, &[0; 4]].concat()
}

#[test]
fn texts_of_png_are_opened_and_its_pixels_are_not() {
    let text = [b"Comment\0\0".as_slice(), &zlib(&content(), 6)].concat();
    let image = |chunks: &[Vec<u8>]| [b"\x89PNG\r\n\x1a\n", &*chunks.concat()].concat();
    finds(&image(&[chunk(b"IHDR", &noise(13)), chunk(b"zTXt", &text)]));
    // A large image of one colour, of which no limit may be known.
    let pixels = chunk(b"IDAT", &zlib(&vec![0; 64 << 20], 9));
    seen(&image(&[chunk(b"IHDR", &noise(13)), pixels]));
}

#[test]
fn what_unpacks_itself_is_refused_and_what_knows_the_format_is_not() {
    let program = [b"MZ\0\0".as_slice(), &noise(3000)].concat();
    let mut crc = Crc::new();
    crc.update(&[7; 20]);
    let seven_zip = [
        b"7z\xbc\xaf\x27\x1c\0\x04".as_slice(),
        &crc.sum().to_le_bytes(),
        &[7; 20],
    ];
    let mut squashfs = b"hsqs".to_vec();
    squashfs.resize(96, 0);
    squashfs[12..16].copy_from_slice(&(1_u32 << 17).to_le_bytes());
    squashfs[22] = 17;
    squashfs[28] = 4;
    for (what, archive) in [("7z", seven_zip.concat()), ("squashfs", squashfs)] {
        let error = refuses(&[&*program, &archive, &noise(200)].concat());
        assert!(error.contains(what), "{error}");
        seen(&[&*program, &archive[..6], &noise(200)].concat());
    }
}

#[test]
fn records_of_a_firmware_are_decoded() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02X}")).collect() };
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b));
    let intel = |part: &[u8]| {
        let record = [&[u8::try_from(part.len()).unwrap(), 0x10, 0, 0], part].concat();
        format!(
            ":{}\r\n",
            hex(&[&*record, &[sum(&record).wrapping_neg()]].concat())
        )
    };
    let motorola = |part: &[u8]| {
        let record = [&[u8::try_from(part.len() + 4).unwrap(), 0, 0x10, 0], part].concat();
        format!("S2{}\n", hex(&[&*record, &[!sum(&record)]].concat()))
    };
    let text = content();
    for file in [
        text.chunks(16).map(intel).collect::<String>(),
        text.chunks(16).map(motorola).collect(),
    ] {
        finds(file.as_bytes());
    }
}

#[test]
fn base32_in_small_letters_is_decoded() {
    finds(&fixture("content.small.base32"));
}

#[test]
fn ebcdic_is_text() {
    for page in ["cp037", "cp1140", "cp500"] {
        finds(&fixture(&format!("content.{page}")));
    }
    let umlauts = "grün über \u{4e2d}\u{6587} ".repeat(40);
    assert_eq!(seen(umlauts.as_bytes()).0.len(), 1);
}

#[test]
fn rare_escapes_are_resolved() {
    let each = |f: &dyn Fn(u8) -> String| needle().bytes().map(f).collect::<String>();
    let whole = needle();
    let (head, tail) = whole.split_at(11);
    let next = tail.as_bytes()[0];
    let utf7 = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        format!("+{}-", base64(&units).trim_end_matches('='))
    };
    for text in [
        each(&|b| format!("\\{b:03}")),
        each(&|b| format!("\\{b:x} ")),
        each(&|b| format!("\\{b:06x}")),
        each(&|b| format!("\\0{b:o}")),
        each(&|b| format!("^{}", char::from(b))),
        format!("{head}\\{next:03}{}", &tail[1..]),
        format!("{head}^{tail}"),
        utf7(&whole),
        format!("{head}{}{}", utf7(&tail[..1]), &tail[1..]),
    ] {
        let text = format!("first\nsecret: {text}\nlast\n");
        assert!(seen(text.as_bytes()).holds(&needle()), "{text}");
    }
    // Made here: this file is scanned too.
    let digits = "16C7e42F292c6912E7710c838347Ae178B4a";
    let short = &digits[..12];
    for (text, token) in [
        (format!(r"ghp\_{digits}"), format!("ghp_{digits}")),
        (
            format!("sk&lowbar;live&lowbar;{short}"),
            format!("sk_live_{short}"),
        ),
    ] {
        assert!(seen(text.as_bytes()).holds(&token), "{text}");
    }
    for plain in [r"\d+\.\d{2}\1", "a^b ^ c", "x + A + b", r"some\_name"] {
        assert_eq!(seen(plain.as_bytes()).0.len(), 1, "{plain}");
    }
}
