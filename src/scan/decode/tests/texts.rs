use super::*;

fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
    text.encode_utf16()
        .flat_map(|unit| {
            if big_endian {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

fn utf32(text: &str, big_endian: bool) -> Vec<u8> {
    text.chars()
        .map(u32::from)
        .flat_map(|unit| {
            if big_endian {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

#[test]
fn plain_text_is_handed_over_once_and_as_it_is() {
    let text = format!("first\nk\u{e9}y = {}\n", needle());
    let seen = seen(text.as_bytes());
    assert_eq!(seen.0.len(), 1);
    assert_eq!(seen.0[0].2, text.as_bytes());
    assert_eq!(seen.place(&needle()), Some((" text".to_owned(), 2)));
}

#[test]
fn latin_1_is_text() {
    let text = [b"cl\xe9 = ".as_slice(), needle().as_bytes()].concat();
    assert_eq!(seen(&text).0[0].2, text);
}

#[test]
fn wide_text_keeps_its_lines_whole() {
    let text = format!(
        "eins\nSchl\u{fc}ssel \u{5bc6}\u{7801}{} \u{1f511}\n",
        needle()
    );
    let whole = format!("Schl\u{fc}ssel \u{5bc6}\u{7801}{}", needle());
    for big_endian in [false, true] {
        for (kind, bytes) in [
            (" UTF-16", utf16(&text, big_endian)),
            (" UTF-16", utf16(&format!("\u{feff}{text}"), big_endian)),
            (" UTF-32", utf32(&text, big_endian)),
            (" UTF-32", utf32(&format!("\u{feff}{text}"), big_endian)),
        ] {
            assert_eq!(seen(&bytes).place(&whole), Some((kind.to_owned(), 2)));
        }
    }
}

#[test]
fn wide_strings_in_binary_data_come_out_at_any_alignment() {
    // U+7801 ends in the byte of an `x`, which must not join the string.
    let text = format!("\u{7801}{}\u{7801}", needle());
    let line = format!("\n{}\n", needle());
    for big_endian in [false, true] {
        for wide in [utf16(&text, big_endian), utf32(&text, big_endian)] {
            for shift in 0..4 {
                let bytes = [
                    &noise(5000 + shift),
                    &[0, 1][..],
                    &wide,
                    &[1, 0],
                    &noise(100),
                ];
                let bytes = bytes.concat();
                let found = seen(&bytes);
                let own_line = found.0.iter().any(|(_, _, text)| {
                    let text = [b"\n", text.as_slice(), b"\n"].concat();
                    memchr::memmem::find(&text, line.as_bytes()).is_some()
                });
                assert!(own_line, "big endian {big_endian}, shift {shift}");
            }
        }
    }
}

#[test]
fn nul_bytes_hide_nothing() {
    let secret = needle();
    let letters: Vec<String> = secret.chars().map(String::from).collect();
    for nuls in [1, 2, 3, 4, 7] {
        finds(letters.join(&"\0".repeat(nuls)).as_bytes());
    }
    finds(format!("key = {}\nother\0line\n", secret).as_bytes());
    let (head, tail) = secret.split_at(9);
    finds(format!("key = {head}\0{tail}\n").as_bytes());
    finds(format!("{head}\0\0\0\0\0{tail}").as_bytes());
}

#[test]
fn a_key_of_several_lines_stays_together_in_binary_data() {
    let key = format!("BEGIN\n{}\n\tEND", vec![needle(); 20].join("\r\n"));
    let bytes = [&noise(300), &[0, 0][..], key.as_bytes(), &[0], &noise(300)].concat();
    assert!(seen(&bytes).holds(&key));
}

#[test]
fn a_base64_text_with_a_nul_byte_is_still_decoded() {
    let wrapped = super::encodings::wrapped(&super::encodings::base64(needle().as_bytes()), 10);
    finds(format!("\0\n{wrapped}").as_bytes());
    finds(&utf16(&format!("x\n{wrapped}"), false));
}

#[test]
fn pieces_overlap_by_whole_lines_and_know_their_lines() {
    let text: String = (1..30_000).map(|n| format!("line {n}\n")).collect();
    let seen = seen(text.as_bytes());
    assert!(seen.0.len() > 2);
    let mut end = 0;
    for (_, first, piece) in &seen.0 {
        let piece = std::str::from_utf8(piece).unwrap();
        assert!(piece.starts_with(&format!("line {first}\n")));
        assert!(piece.ends_with('\n'));
        let last = first + piece.lines().count() as u64;
        assert!(end == 0 || end > *first, "no overlap");
        end = last;
    }
    assert_eq!(end, 30_000);
}

#[test]
fn a_line_longer_than_a_piece_comes_in_overlapping_windows() {
    for at in [0, PIECE - 5, PIECE + 3, 3 * PIECE - OVERLAP, 4 * PIECE - 40] {
        let mut line = vec![b' '; 4 * PIECE];
        line[at..at + needle().len()].copy_from_slice(needle().as_bytes());
        finds(&line);
    }
}

#[test]
fn a_private_key_longer_than_the_overlap_is_in_one_piece() {
    let body = format!("{}\n", "Ab1+".repeat(16)).repeat(PIECE / 130);
    let key = format!("-----BEGIN X-----\n{body}-----END X-----\n");
    for before in [PIECE - 20_000, 2 * PIECE - 50_000, 3 * PIECE] {
        let line = "some text here\n";
        let text = line.repeat(before / line.len()) + &key + &line.repeat(PIECE);
        assert!(seen(text.as_bytes()).holds(&key));
    }
}

#[test]
fn a_stream_gives_what_bytes_give() {
    let text: Vec<u8> = (0..600_000)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    let mut streamed = Seen::default();
    let mut budget = super::budget(&Limits::default());
    views(Content::Stream(&mut &text[..]), &mut budget, &mut streamed).unwrap();
    let seen = seen(&text);
    assert_eq!(seen.0.len(), streamed.0.len());
    assert!(seen.0 == streamed.0);
}
