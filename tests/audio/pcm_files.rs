//! Generator of uncompressed files: every container, encoding and number of channels, with any declared length.

/// The samples of one channel of the grid.
const FRAMES: usize = 300;

/// The containers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Container {
    Wav,
    Extensible,
    Rifx,
    Rf64,
    Wave64,
    Aiff,
    Au,
    Caf,
}

pub const CONTAINERS: [Container; 8] = [
    Container::Wav,
    Container::Extensible,
    Container::Rifx,
    Container::Rf64,
    Container::Wave64,
    Container::Aiff,
    Container::Au,
    Container::Caf,
];

/// The encodings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Encoding {
    Bits8,
    Bits16,
    Bits24,
    Bits32,
    Float32,
    Float64,
    MuLaw,
    ALaw,
}
use Encoding::{ALaw, Bits8, Bits16, Bits24, Bits32, Float32, Float64, MuLaw};

pub const ENCODINGS: [Encoding; 8] = [Bits8, Bits16, Bits24, Bits32, Float32, Float64, MuLaw, ALaw];

/// The length that a header declares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    Right,
    Zero,
    Most,
    /// Less than the file holds.
    Short,
    /// More than the file holds.
    Long,
}

/// One file of the grid.
#[derive(Debug, Clone, Copy)]
pub struct PcmFile {
    pub container: Container,
    pub encoding: Encoding,
    pub channels: u16,
    pub rate_hz: u32,
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Bits8 | MuLaw | ALaw => 1,
            Bits16 => 2,
            Bits24 => 3,
            Bits32 | Float32 => 4,
            Float64 => 8,
        }
    }

    fn wave_tag(self) -> u16 {
        match self {
            Float32 | Float64 => 3,
            ALaw => 6,
            MuLaw => 7,
            _ => 1,
        }
    }
}

impl PcmFile {
    /// The name of the file; its extension is the kind of container.
    pub fn name(self) -> String {
        let end = match self.container {
            Container::Wav => "plain.wav",
            Container::Extensible => "extensible.wav",
            Container::Rifx => "rifx",
            Container::Rf64 => "rf64",
            Container::Wave64 => "w64",
            Container::Aiff if matches!(self.encoding, Bits8 | Bits16 | Bits24 | Bits32) => "aiff",
            Container::Aiff => "aifc",
            Container::Au => "au",
            Container::Caf => "caf",
        };
        format!("{:?}_{}_{}.{end}", self.encoding, self.channels, self.rate_hz).to_lowercase()
    }

    /// The encoded samples: a pattern that uses the whole range, and for floats a ramp.
    pub fn audio(self) -> Vec<u8> {
        let is_big =
            matches!(self.container, Container::Rifx | Container::Aiff | Container::Au | Container::Caf);
        let count = FRAMES * usize::from(self.channels);
        let mut audio = Vec::new();
        for index in 0..count as u32 {
            let value = index.wrapping_mul(2_654_435_761).rotate_left(7);
            let ramp = f64::from(index) / count as f64 - 0.5;
            let start = audio.len();
            match self.encoding {
                Float32 => audio.extend((ramp as f32).to_le_bytes()),
                Float64 => audio.extend(ramp.to_le_bytes()),
                _ => audio.extend(&value.to_le_bytes()[4 - self.encoding.bytes()..]),
            }
            if is_big {
                audio[start..].reverse();
            }
        }
        audio
    }

    /// The file with a declared length of its audio.
    pub fn bytes(self, length: Length) -> Vec<u8> {
        let audio = self.audio();
        let right = audio.len() as u64;
        let most = if matches!(self.container, Container::Wave64 | Container::Caf) {
            u64::MAX
        } else {
            u32::MAX.into()
        };
        let declared = match length {
            Length::Right => right,
            Length::Zero => 0,
            Length::Most => most,
            Length::Short => right - 96,
            Length::Long => right + 4_800,
        };
        match self.container {
            Container::Wav | Container::Extensible => self.riff(b"RIFF", declared as u32, u32::to_le_bytes),
            Container::Rifx => self.riff(b"RIFX", declared as u32, u32::to_be_bytes),
            Container::Rf64 => self.rf64(declared),
            Container::Wave64 => self.wave64(declared),
            Container::Aiff => self.aiff(declared as u32),
            Container::Au => self.au(declared as u32),
            Container::Caf => self.caf(declared),
        }
    }

    fn format(self, four: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let is_big = self.container == Container::Rifx;
        let two = |value: u16| if is_big { value.to_be_bytes() } else { value.to_le_bytes() };
        let bytes = self.encoding.bytes() as u16;
        let is_long = self.container == Container::Extensible;
        let mut format = two(if is_long { 0xfffe } else { self.encoding.wave_tag() }).to_vec();
        format.extend(two(self.channels));
        format.extend(four(self.rate_hz));
        format.extend(four(self.rate_hz * u32::from(self.channels * bytes)));
        format.extend(two(self.channels * bytes));
        format.extend(two(8 * bytes));
        if is_long {
            format.extend(two(22));
            format.extend(two(8 * bytes));
            format.extend(four((1 << self.channels) - 1));
            format.extend(two(self.encoding.wave_tag()));
            format.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
        }
        format
    }

    fn riff(self, mark: &[u8], declared: u32, four: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let (format, audio) = (self.format(four), self.audio());
        let (size, width) =
            (four(declared.saturating_add(20 + format.len() as u32)), four(format.len() as u32));
        [mark, &size, b"WAVEfmt ", &width, &format, b"data", &four(declared), &audio].concat()
    }

    fn rf64(self, declared: u64) -> Vec<u8> {
        let riff = self.riff(b"RF64", u32::MAX, u32::to_le_bytes);
        let riff_size = declared.saturating_add(72).to_le_bytes();
        let long = [b"ds64\x1c\0\0\0", &riff_size[..], &declared.to_le_bytes(), &[0; 12]].concat();
        [&riff[..12], &long, &riff[12..]].concat()
    }

    fn wave64(self, declared: u64) -> Vec<u8> {
        let guid = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
        let (format, audio) = (self.format(u32::to_le_bytes), self.audio());
        let riff = [0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0x00, 0x00];
        let whole = (104 + audio.len() as u64).to_le_bytes();
        let data = declared.saturating_add(24).to_le_bytes();
        let format_size = (24 + format.len() as u64).to_le_bytes();
        let head = [b"riff", &riff[..], &whole, b"wave", &guid].concat();
        [&head[..], b"fmt ", &guid[..], &format_size, &format, b"data", &guid, &data, &audio].concat()
    }

    fn aiff(self, declared: u32) -> Vec<u8> {
        let bits = 8 * self.encoding.bytes() as u16;
        let kind: &[u8] = match self.encoding {
            Float32 => b"fl32\0\0",
            Float64 => b"fl64\0\0",
            MuLaw => b"ulaw\0\0",
            ALaw => b"alaw\0\0",
            _ => b"",
        };
        // The exponent has a bias of 16,383, and the first bit of the mantissa is one.
        let exponent = 31 - self.rate_hz.leading_zeros() as u16;
        let mantissa = u64::from(self.rate_hz) << (63 - exponent);
        let frame = u32::from(self.channels) * self.encoding.bytes() as u32;
        let mut common = self.channels.to_be_bytes().to_vec();
        common.extend((declared / frame).to_be_bytes());
        common.extend(bits.to_be_bytes());
        common.extend((16_383 + exponent).to_be_bytes());
        common.extend(mantissa.to_be_bytes());
        common.extend(kind);
        let audio = self.audio();
        let form: &[u8] = if kind.is_empty() { b"AIFF" } else { b"AIFC" };
        let whole = (common.len() as u32 + 28 + audio.len() as u32).to_be_bytes();
        let sound = declared.saturating_add(8).to_be_bytes();
        let head = [b"FORM", &whole, form, b"COMM", &(common.len() as u32).to_be_bytes(), &common].concat();
        [&head[..], b"SSND", &sound[..], &[0; 8], &audio].concat()
    }

    fn au(self, declared: u32) -> Vec<u8> {
        let encoding: u32 = match self.encoding {
            MuLaw => 1,
            Bits8 => 2,
            Bits16 => 3,
            Bits24 => 4,
            Bits32 => 5,
            Float32 => 6,
            Float64 => 7,
            ALaw => 27,
        };
        let fields = [24, declared, encoding, self.rate_hz, u32::from(self.channels)];
        [b".snd", &fields.map(u32::to_be_bytes).concat()[..], &self.audio()].concat()
    }

    fn caf(self, declared: u64) -> Vec<u8> {
        let bytes = self.encoding.bytes() as u32;
        let kind = match self.encoding {
            MuLaw => b"ulaw",
            ALaw => b"alaw",
            _ => b"lpcm",
        };
        let is_float = matches!(self.encoding, Float32 | Float64);
        let channels = u32::from(self.channels);
        let fields = [u32::from(is_float), bytes * channels, 1, channels, 8 * bytes];
        let description =
            [&f64::from(self.rate_hz).to_be_bytes()[..], kind, &fields.map(u32::to_be_bytes).concat()]
                .concat();
        // The length counts the number of edits, of four bytes.
        let length = if declared == 0 || declared == u64::MAX { declared } else { declared + 4 };
        let head = [b"caff\0\x01\0\0desc", &32_u64.to_be_bytes()[..], &description].concat();
        [&head[..], b"data", &length.to_be_bytes()[..], &[0; 4], &self.audio()].concat()
    }
}
