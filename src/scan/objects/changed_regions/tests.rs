use proptest::prelude::*;

use super::*;

/// Lines of a few kinds, so that a diff finds much to align, some long enough that the context
/// does not cover the whole text. None looks encoded.
fn text(lines: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let line = (
        0u8..12,
        prop_oneof![Just(0usize), Just(70), Just(900), Just(4000)],
    );
    proptest::collection::vec(line, lines).prop_map(|lines| {
        let lines = lines.into_iter().map(|(kind, length)| {
            let kind = char::from(b'a' + kind).to_string();
            format!("a line: {}\n", kind.repeat(length + 1)).into_bytes()
        });
        lines.collect::<Vec<_>>().concat()
    })
}

/// Two versions: some stretches of the first, moved or kept, with new ones between them.
fn versions() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let cut = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        text(0..4),
    );
    (
        text(1..150),
        proptest::collection::vec(cut, 0..6),
        any::<bool>(),
    )
        .prop_map(|(old, cuts, sorted)| {
            let lines: Vec<_> = old.split_inclusive(|&b| b == b'\n').collect();
            let mut cuts: Vec<_> = cuts
                .into_iter()
                .map(|(a, b, new)| (a.index(lines.len()), b.index(lines.len()), new))
                .collect();
            if sorted {
                cuts.sort_by_key(|&(a, ..)| a);
            }
            let new = cuts.into_iter().map(|(a, b, new)| {
                let kept = lines[a.min(b)..=a.max(b)].concat();
                [kept, new].concat()
            });
            let new = new.collect::<Vec<_>>().concat();
            (old, new)
        })
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || memchr::memmem::find(text, part).is_some()
}

proptest! {
    /// What is left out stood in the old version, as one piece and not only line by line.
    #[test]
    fn nothing_is_left_out_that_was_not_there_before((old, new) in versions()) {
        let mut from = 0;
        for region in changed(&old, &new) {
            prop_assert!(holds(&old, &new[from..region.bytes.start]));
            from = region.bytes.end;
        }
        prop_assert!(holds(&old, &new[from..]));
    }

    /// Whatever of up to CONTEXT bytes is new as a whole, although each of its lines may be
    /// old, lies in one region whole: a key that is put together line by line is seen.
    #[test]
    fn a_secret_put_together_from_old_lines_is_in_one_region(
        (old, new) in versions(),
        at in any::<prop::sample::Index>(),
        length in 1..CONTEXT,
    ) {
        prop_assume!(!new.is_empty());
        let start = at.index(new.len());
        let end = (start + length).min(new.len());
        let secret = &new[start..end];
        let inside = |region: &Region| region.bytes.start <= start && end <= region.bytes.end;
        prop_assert!(holds(&old, secret) || changed(&old, &new).iter().any(inside));
    }

    #[test]
    fn regions_are_whole_lines_with_their_numbers((old, new) in versions()) {
        for region in changed(&old, &new) {
            let Range { start, end } = region.bytes;
            prop_assert!(start == 0 || new[start - 1] == b'\n');
            prop_assert!(end == new.len() || new[end - 1] == b'\n');
            let before = new[..start].iter().filter(|&&b| b == b'\n').count();
            prop_assert_eq!(region.first_line, before as u64 + 1);
        }
    }
}

#[test]
fn one_changed_line_of_a_large_file_is_a_small_region() {
    let old: Vec<u8> = (0..20_000)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    let new = String::from_utf8(old.clone())
        .unwrap()
        .replace("line 9000\n", "line x\n");
    let regions = changed(&old, new.as_bytes());
    assert_eq!(regions.len(), 1);
    assert!(regions[0].bytes.len() < 3 * CONTEXT);
}

/// A thousand lines of something encoded, and one before and behind them that are not.
fn blocks() -> Vec<String> {
    let lines: [fn(usize) -> String; 8] = [
        |n| format!("{n:064}"),
        |n| format!("    // {n:064}"),
        |n| format!("    \"QUJDREVG{n:056}\" +"),
        |n| format!("{n:032}\\n{n:032}\\n"),
        |n| format!("{:08x}: 1f8b 0800 {n:04} 0000  ........", n * 8),
        |n| format!("    0x1f, 0x8b, {}, {},", n % 7, n % 9),
        |n| format!("=1F=8B text {n} and text ="),
        |n| format!("text {n} \\x1f\\x8b and text"),
    ];
    let block = |line: fn(usize) -> String| {
        let lines: Vec<_> = (0..1000).map(line).collect();
        format!("value of it:\n{}\nwas the value\n", lines.join("\n"))
    };
    lines.into_iter().map(block).collect()
}

#[test]
fn what_is_encoded_is_not_cut() {
    let text = "plain text here\n".repeat(4000);
    for block in blocks() {
        let old = format!("{text}{block}{text}");
        let (start, end) = (text.len(), text.len() + block.len());
        for change in [start, end] {
            let new = [&old[..change], "and a line\n", &old[change..]].concat();
            let region = &changed(old.as_bytes(), new.as_bytes())[0];
            let whole = region.bytes.start <= start && end <= region.bytes.end;
            assert!(
                whole && region.bytes.len() < 2 * block.len(),
                "{block:.200}"
            );
        }
    }
}

#[test]
fn a_private_key_is_not_cut() {
    let text = "plain text here\n".repeat(4000);
    let key = format!(
        "-----BEGIN X-----\n{}{}-----END X-----\n",
        "Comment: a long one\n".repeat(500),
        "abc def\n".repeat(2000)
    );
    let (start, end) = (text.len(), text.len() + key.len());
    let new = format!("{text}{key}{text}");
    let first = start + key.find('\n').unwrap() + 1;
    let last = end - "-----END X-----\n".len();
    for gone in [start..first, last..end] {
        let old = [&new[..gone.start], &new[gone.end..]].concat();
        let region = &changed(old.as_bytes(), new.as_bytes())[0];
        assert!(region.bytes.start <= start && end <= region.bytes.end);
        assert!(region.bytes.len() < 2 * key.len());
    }
}

/// A line diff that counts how often lines occur takes half a minute for this.
#[test]
fn a_text_of_few_different_lines_takes_no_time() {
    let started = std::time::Instant::now();
    let line = |n: usize| format!("12, 34, 56, {}\n", n % 200);
    let old: String = (0..200_000).map(line).collect();
    let changed_line = |n: usize| match n % 2000 {
        0 => "12, 34, 56, 250\n".to_owned(),
        _ => line(n),
    };
    let new: String = (0..200_000).map(changed_line).collect();
    let regions = changed(old.as_bytes(), new.as_bytes());
    assert_eq!(regions.len(), 1);
    assert_eq!(regions[0].bytes, 0..new.len());
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn two_distant_changes_are_two_small_regions() {
    let old: Vec<u8> = (0..20_000)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    let new = String::from_utf8(old.clone()).unwrap();
    let new = new
        .replace("line 100\n", "line y\n")
        .replace("line 19000\n", "");
    let regions = changed(&old, new.as_bytes());
    assert_eq!(regions.len(), 2);
    assert!(
        regions
            .iter()
            .all(|region| region.bytes.len() < 3 * CONTEXT)
    );
}
