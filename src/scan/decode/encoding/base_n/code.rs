//! The codes, and which of them a run of digits may be.

/// No digit.
pub(super) const NONE: u8 = 0xff;

/// As JSON may write the digit `/`.
pub(super) const ESCAPED_SLASH: &[u8] = b"\\/";

pub(super) const CODES: [Code; 4] = [Code::Base64, Code::Base32, Code::SmallBase32, Code::Hex];

static BASE64: [u8; 256] = Code::Base64.table();

static BASE32: [u8; 256] = Code::Base32.table();

static SMALL_BASE32: [u8; 256] = Code::SmallBase32.table();

static HEX: [u8; 256] = Code::Hex.table();

/// How digits hold bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Base64,
    Base32,
    /// The same in small letters.
    SmallBase32,
    Hex,
}

impl Code {
    const fn value(self, byte: u8) -> u8 {
        match (self, byte) {
            (Self::Base64 | Self::Base32, b'A'..=b'Z') => byte - b'A',
            (Self::SmallBase32, b'a'..=b'z') => byte - b'a',
            (Self::Base64, b'a'..=b'z') => byte - b'a' + 26,
            (Self::Base64, b'0'..=b'9') => byte - b'0' + 52,
            (Self::Base64, b'+' | b'-') => 62,
            (Self::Base64, b'/' | b'_') => 63,
            (Self::Base32 | Self::SmallBase32, b'2'..=b'7') => byte - b'2' + 26,
            (Self::Hex, b'0'..=b'9') => byte - b'0',
            (Self::Hex, b'a'..=b'f') => byte - b'a' + 10,
            (Self::Hex, b'A'..=b'F') => byte - b'A' + 10,
            _ => NONE,
        }
    }

    const fn table(self) -> [u8; 256] {
        let mut table = [NONE; 256];
        let mut byte = 0_u8;
        loop {
            table[byte as usize] = self.value(byte);
            if byte == u8::MAX {
                return table;
            }
            byte += 1;
        }
    }

    /// What each byte stands for as a digit, or [`NONE`].
    pub(super) fn values(self) -> &'static [u8; 256] {
        match self {
            Self::Base64 => &BASE64,
            Self::Base32 => &BASE32,
            Self::SmallBase32 => &SMALL_BASE32,
            Self::Hex => &HEX,
        }
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Self::Base64 => 6,
            Self::Base32 | Self::SmallBase32 => 5,
            Self::Hex => 4,
        }
    }

    /// After how many digits bytes and digits start together again.
    pub(super) fn alignments(self) -> usize {
        match self {
            Self::Base64 => 4,
            Self::Base32 | Self::SmallBase32 => 8,
            Self::Hex => 2,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Base32 | Self::SmallBase32 => "base32",
            Self::Hex => "hex",
        }
    }
}

impl Code {
    pub(super) fn is_digit(self, byte: u8) -> bool {
        let table = match self {
            Self::Base64 => &BASE64,
            Self::Base32 => &BASE32,
            Self::SmallBase32 => &SMALL_BASE32,
            Self::Hex => &HEX,
        };
        table[usize::from(byte)] != NONE
    }

    /// How many digits `text` starts with.
    pub(super) fn chunk(self, text: &[u8]) -> usize {
        text.iter()
            .position(|&b| !self.is_digit(b))
            .unwrap_or(text.len())
    }
}

/// Which kinds of digits a run has. base64 of anything has small and capital letters, base32 has figures: a
/// long name in a program mostly has not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kinds {
    small: bool,
    capital: bool,
    figure: bool,
}

impl Kinds {
    pub(super) fn of(digits: &[u8]) -> Self {
        Self {
            small: digits.iter().any(u8::is_ascii_lowercase),
            capital: digits.iter().any(u8::is_ascii_uppercase),
            figure: digits.iter().any(u8::is_ascii_digit),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            small: self.small || other.small,
            capital: self.capital || other.capital,
            figure: self.figure || other.figure,
        }
    }

    pub(super) fn fits(self, code: Code) -> bool {
        match code {
            Code::Base64 => self.small && self.capital,
            Code::SmallBase32 => self.figure,
            Code::Base32 | Code::Hex => true,
        }
    }
}
