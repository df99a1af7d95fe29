//! Many values, looked for in one pass over a text: the cost does not grow with their number.

use std::collections::BTreeSet;
use std::ops::Range;

/// Values to look for. Each is known by its place in [`Needles::values`].
pub(crate) struct Needles {
    /// Sorted, each once, none empty.
    values: Vec<Box<[u8]>>,
    /// The longest other value that each begins with.
    within: Vec<Option<usize>>,
    /// How many bytes of a position are looked at first: no value is shorter.
    head: usize,
    /// The hashes of the values' first bytes, as bits.
    heads: Vec<u64>,
}

/// The fewest bits of hashes.
const LEAST_BITS: usize = 1 << 12;

impl Needles {
    /// Prepares to look for `values`; an empty one is found nowhere.
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Self {
        let sorted: BTreeSet<_> = values.into_iter().filter(|one| !one.is_empty()).collect();
        let values: Vec<Box<[u8]>> = sorted.into_iter().map(Into::into).collect();
        let shortest = values.iter().map(|one| one.len()).min();
        let bits = (values.len() * 32).next_power_of_two().max(LEAST_BITS);
        let mut needles = Self {
            within: within(&values),
            head: shortest.unwrap_or(1).min(8),
            heads: vec![0; bits / 64],
            values,
        };
        for at in 0..needles.values.len() {
            let bit = needles.hash(&needles.values[at]);
            needles.heads[bit / 64] |= 1 << (bit % 64);
        }
        needles
    }

    /// The values, in order.
    pub(crate) fn values(&self) -> &[Box<[u8]>] {
        &self.values
    }

    /// Calls `each` with every value that stands in `text` and with its range there, by where it
    /// begins; of those that begin at one place the longest first.
    pub(crate) fn find(&self, text: &[u8], mut each: impl FnMut(usize, Range<usize>)) {
        for at in 0..(text.len() + 1).saturating_sub(self.head) {
            let rest = &text[at..];
            if !self.may_start(rest) {
                continue;
            }
            let mut next = self.candidate(rest);
            while let Some((value, length)) = next {
                if self.values[value].len() <= length {
                    each(value, at..at + self.values[value].len());
                }
                next = self.within[value].map(|value| (value, length));
            }
        }
    }

    /// The last value that is not behind `text` in the order, and how many bytes both begin with.
    /// Every value that `text` begins with is this one, or one that this one begins with.
    fn candidate(&self, text: &[u8]) -> Option<(usize, usize)> {
        let behind = self.values.partition_point(|value| **value <= *text);
        let value = behind.checked_sub(1)?;
        let both = self.values[value].iter().zip(text);
        Some((value, both.take_while(|(a, b)| a == b).count()))
    }

    fn may_start(&self, text: &[u8]) -> bool {
        let bit = self.hash(text);
        self.heads[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The hash of the first bytes of `text`, which has as many, below the number of bits.
    fn hash(&self, text: &[u8]) -> usize {
        let mut head = [0; 8];
        match text.first_chunk::<8>() {
            Some(chunk) if self.head == 8 => head = *chunk,
            _ => head[..self.head].copy_from_slice(&text[..self.head]),
        }
        // Fibonacci hashing: the upper bits of the product depend on all bytes.
        let product = u64::from_le_bytes(head).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = self.heads.len() * 64;
        usize::try_from(product >> 32).unwrap_or(0) & (bits - 1)
    }
}

/// For each of the sorted `values` the longest other one that it begins with.
fn within(values: &[Box<[u8]>]) -> Vec<Option<usize>> {
    let mut open: Vec<usize> = Vec::new();
    let mut within = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        while open
            .last()
            .is_some_and(|&outer| !value.starts_with(&values[outer]))
        {
            open.pop();
        }
        within.push(open.last().copied());
        open.push(at);
    }
    within
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(values: &[Vec<u8>], text: &[u8]) -> BTreeSet<(Vec<u8>, usize)> {
        let needles = Needles::new(values.iter().map(Vec::as_slice));
        let mut found = BTreeSet::new();
        needles.find(text, |value, range| {
            assert_eq!(*needles.values()[value], text[range.clone()]);
            found.insert((text[range.clone()].to_vec(), range.start));
        });
        found
    }

    proptest! {
        /// As a search for each value on its own.
        #[test]
        fn every_value_is_found_wherever_it_stands(
            values in proptest::collection::vec("[ab]{0,3}|[ab]{9,12}", 0..12),
            text in "[abc]{0,60}",
        ) {
            let values: Vec<_> = values.into_iter().map(String::into_bytes).collect();
            let text = text.into_bytes();
            let mut expected = BTreeSet::new();
            for value in values.iter().filter(|value| !value.is_empty()) {
                let starts = (0..text.len()).filter(|&at| text[at..].starts_with(value));
                expected.extend(starts.map(|at| (value.clone(), at)));
            }
            prop_assert_eq!(found(&values, &text), expected);
        }
    }
}
