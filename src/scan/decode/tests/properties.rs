use proptest::prelude::*;

use super::*;
use crate::scan::decode::charset;

fn bytes_with_nuls() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![3 => Just(0_u8), 6 => 0x20..0x7f_u8, 1 => any::<u8>()],
        0..2000,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_bytes_are_walked_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let _ = seen_within(&bytes, &Limits::default());
    }

    #[test]
    fn any_archive_that_is_damaged_is_walked_without_a_panic(
        form in 0..5_usize,
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let inner = tar(&[("a/b", &noise(500)), ("c", b"text")]);
        let mut archive = match form {
            0 => inner,
            1 => gzip(&inner),
            2 => super::archives::zipped(),
            3 => super::archives::packed(),
            _ => super::encodings::wrapped(&super::encodings::base64(&gzip(&inner)), 40).into_bytes(),
        };
        let start = at.index(archive.len());
        for (target, byte) in archive[start..].iter_mut().zip(bytes) {
            *target = byte;
        }
        let _ = seen_within(&archive, &Limits::default());
    }

    #[test]
    fn every_printable_run_appears_in_a_view(bytes in bytes_with_nuls()) {
        let (seen, _) = seen_within(&bytes, &Limits::default());
        for run in bytes.split(|b| !(0x20..0x7f).contains(b)).filter(|run| run.len() >= 8) {
            prop_assert!(seen.holds(std::str::from_utf8(run).unwrap()));
        }
    }

    #[test]
    fn every_line_appears_whole_and_with_its_number(
        lengths in prop::collection::vec(0..40_000_usize, 1..12),
    ) {
        let lines: Vec<String> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| format!("<{number}{}>", ".".repeat(*length)))
            .collect();
        let text = lines.join("\n");
        let mut streamed = Seen::default();
        let mut view = charset::Pieces::new();
        for part in text.as_bytes().chunks(1000) {
            view.write(part, &mut |line, text| Ok(streamed.text(&Member::default(), line, text)?)).unwrap();
        }
        view.finish(&mut |line, text| Ok(streamed.text(&Member::default(), line, text)?)).unwrap();
        let mut whole = Seen::default();
        charset::pieces(text.as_bytes(), 1, |line, text| whole.text(&Member::default(), line, text)).unwrap();
        prop_assert!(whole.0 == streamed.0);
        for (index, line) in lines.iter().enumerate() {
            let place = whole.place(line);
            prop_assert_eq!(place.map(|(_, line)| line), Some(index as u64 + 1));
        }
    }

    #[test]
    fn base64_comes_back(
        before in "[ -~\n]{0,40}",
        width in 1..80_usize,
        filler in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let content = [filler.as_slice(), b"\n", needle().as_bytes(), b"\n"].concat();
        let text = format!("{before}\n{}", super::encodings::wrapped(&super::encodings::base64(&content), width));
        prop_assert!(seen_within(text.as_bytes(), &Limits::default()).0.holds(&needle()));
    }
}
