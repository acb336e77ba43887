//! Validation of MFCC options before tables are built from them.
//!
//! Input: options as they were read, and the sample rate.
//! Output: nothing, or an error for the first option that is not allowed.

use super::MfccOptions;

/// The longest Fourier transform: 4 s at 16 kHz, far beyond any speech frame.
const MAX_N_FFT: usize = 65_536;
/// The largest number of mel bands.
const MAX_N_MELS: usize = 1_024;

/// MFCC options that no front end can be built from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// The value of one option is outside the allowed range.
    #[error("mfcc.{key} = {value}: must be {allowed}")]
    OutOfRange {
        /// The option's name in the contract.
        key: &'static str,
        /// The value.
        value: String,
        /// The allowed values.
        allowed: String,
    },
    /// Both `log_floor` and `log_offset` are given.
    #[error("mfcc.log_floor and mfcc.log_offset exclude each other: give one of them")]
    FloorAndOffset,
    /// Neither `log_floor` nor `log_offset` is given, so the logarithm of digital silence would be minus
    /// infinity.
    #[error(
        "mfcc.log_floor is missing: give it or mfcc.log_offset, otherwise the logarithm of silence is not finite"
    )]
    NeitherFloorNorOffset,
}

impl MfccOptions {
    /// Checks every option by itself and against the sample rate in hertz.
    ///
    /// `n_mfcc = 0` is allowed here, because log-mel models do not use it. [`super::FrontEnd::new`] requires
    /// at least 1 for MFCC models.
    ///
    /// # Errors
    /// The first option that is not allowed.
    pub fn check(&self, sample_rate_hz: u32) -> Result<(), OptionsError> {
        self.check_framing()?;
        self.check_mel(sample_rate_hz)?;
        self.check_logarithm()?;
        self.check_cepstrum()
    }

    fn check_framing(&self) -> Result<(), OptionsError> {
        within("n_fft", self.n_fft, 2, MAX_N_FFT)?;
        within("win_length", self.win_length, 2, self.n_fft)?;
        within("hop_length", self.hop_length, 1, MAX_N_FFT)?;
        let coefficient = self.pre_emphasis.unwrap_or(0.0);
        require((0.0..=1.0).contains(&coefficient), "pre_emphasis", coefficient, "from 0 to 1")?;
        require(self.power == 1.0 || self.power == 2.0, "power", self.power, "1 (magnitude) or 2 (power)")
    }

    fn check_mel(&self, sample_rate_hz: u32) -> Result<(), OptionsError> {
        within("n_mels", self.n_mels, 1, MAX_N_MELS)?;
        let nyquist_hz = f64::from(sample_rate_hz) / 2.0;
        let allowed = format!("at most {nyquist_hz}, half the sample rate");
        require(self.f_max_hz <= nyquist_hz, "f_max_hz", self.f_max_hz, &allowed)?;
        let allowed = format!("from 0 to below f_max_hz = {}", self.f_max_hz);
        require((0.0..self.f_max_hz).contains(&self.f_min_hz), "f_min_hz", self.f_min_hz, &allowed)
    }

    fn check_logarithm(&self) -> Result<(), OptionsError> {
        let (key, value) = match (self.log_floor, self.log_offset) {
            (Some(floor), None) => ("log_floor", floor),
            (None, Some(offset)) => ("log_offset", offset),
            (Some(_), Some(_)) => return Err(OptionsError::FloorAndOffset),
            (None, None) => return Err(OptionsError::NeitherFloorNorOffset),
        };
        let smallest = f64::from(f32::MIN_POSITIVE);
        let allowed = format!("from {smallest:e} to 1");
        require((smallest..=1.0).contains(&value), key, value, &allowed)
    }

    fn check_cepstrum(&self) -> Result<(), OptionsError> {
        within("n_mfcc", self.n_mfcc, 0, self.n_mels)?;
        within("deltas", self.deltas, 0, 2)
    }
}

/// Requires `least <= value <= most`.
pub(super) fn within(key: &'static str, value: usize, least: usize, most: usize) -> Result<(), OptionsError> {
    require((least..=most).contains(&value), key, value, &format!("from {least} to {most}"))
}

/// Returns an error for `key` unless `holds`.
fn require(holds: bool, key: &'static str, value: impl ToString, allowed: &str) -> Result<(), OptionsError> {
    if holds {
        return Ok(());
    }
    Err(OptionsError::OutOfRange { key, value: value.to_string(), allowed: allowed.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the key that the error names when `change` is applied to valid options.
    fn rejected_key(change: impl Fn(&mut MfccOptions)) -> &'static str {
        let mut options = MfccOptions::default();
        change(&mut options);
        match options.check(16_000) {
            Err(OptionsError::OutOfRange { key, value, allowed }) => {
                assert!(!value.is_empty() && !allowed.is_empty());
                key
            }
            other => panic!("expected a value out of range, got {other:?}"),
        }
    }

    #[test]
    fn good_options_pass() {
        assert_eq!(MfccOptions::default().check(16_000), Ok(()));
    }

    #[test]
    fn each_bad_value_is_reported_with_its_key() {
        assert_eq!(rejected_key(|o| o.n_fft = 1), "n_fft");
        assert_eq!(rejected_key(|o| o.win_length = 513), "win_length");
        assert_eq!(rejected_key(|o| o.hop_length = 0), "hop_length");
        assert_eq!(rejected_key(|o| o.n_mels = 0), "n_mels");
        assert_eq!(rejected_key(|o| o.f_max_hz = 8000.5), "f_max_hz");
        assert_eq!(rejected_key(|o| o.f_max_hz = f64::NAN), "f_max_hz");
        assert_eq!(rejected_key(|o| o.f_min_hz = 7400.0), "f_min_hz");
        assert_eq!(rejected_key(|o| o.f_min_hz = -1.0), "f_min_hz");
        assert_eq!(rejected_key(|o| o.power = 1.5), "power");
        assert_eq!(rejected_key(|o| o.log_floor = Some(0.0)), "log_floor");
        assert_eq!(rejected_key(|o| o.n_mfcc = 41), "n_mfcc");
        assert_eq!(rejected_key(|o| o.deltas = 3), "deltas");
        assert_eq!(rejected_key(|o| o.pre_emphasis = Some(1.1)), "pre_emphasis");
    }

    #[test]
    fn exactly_one_of_log_floor_and_log_offset_is_required() {
        let both = MfccOptions { log_offset: Some(1e-6), ..MfccOptions::default() };
        assert_eq!(both.check(16_000), Err(OptionsError::FloorAndOffset));
        let neither = MfccOptions { log_floor: None, ..MfccOptions::default() };
        assert_eq!(neither.check(16_000), Err(OptionsError::NeitherFloorNorOffset));
    }

    #[test]
    fn the_message_names_key_value_and_what_is_allowed() {
        let error = MfccOptions::default().check(8_000).unwrap_err().to_string();
        assert_eq!(error, "mfcc.f_max_hz = 7400: must be at most 4000, half the sample rate");
    }
}
