//! A volume's settings, as text and as bytes.
//!
//! ```text
//! count u16 │ key u16 │ length u16 │ value … │ key …        keys ascend; an absent key is inherited
//!   key 1 durability:   u8 kind (0 ephemeral, 1 bounded, 2 sync) │ u32 seconds, of kind 1
//!   key 2 compression:  u8 kind (0 off, 1 lz4, 2 zstd)           │ u8 level
//!   key 3 on lag:       u8 kind (0 alarm, 1 stall)
//!   key 4 history:      u32 seconds
//! ```

mod history;

use std::fmt;
use std::str::FromStr;

use crate::FormatError;
use crate::error::ensure;
use crate::ids::excerpt;
use crate::wire::{Put, Reader};

pub use history::History;

const WHAT: &str = "properties";
const KEY_DURABILITY: u16 = 1;
const KEY_COMPRESSION: u16 = 2;
const KEY_ON_LAG: u16 = 3;
const KEY_HISTORY: u16 = 4;
const SECONDS_MAX: u32 = 86_400;
const SECONDS_BUILT_IN: u32 = 5;
const LEVEL_MAX: i8 = 19;

/// What a volume may lose when its host is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The store is written at drain and when room is short only.
    Ephemeral,
    /// Whatever is older than this is in the store.
    Bounded {
        /// 1 to 86,400.
        seconds: u32,
    },
    /// A FLUSH returns when the store has what was written before it. What nobody flushes is bounded as by default.
    Sync,
}

/// What happens while the store holds less than the volume's durability promises (rule W11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLag {
    /// It is said: in the log, the status and the metrics.
    #[default]
    Alarm,
    /// Writes wait too.
    Stall,
}

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Off,
    /// LZ4.
    Lz4,
    /// Zstandard at a level of 1 to 19.
    Zstd(i8),
}

/// A volume's or pool's settings; `None` is inherited, from the pool and then from the built-in defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties {
    /// What may be lost with the host.
    pub durability: Option<Durability>,
    /// How frames are compressed.
    pub compression: Option<Compression>,
    /// What happens while the store lags behind.
    pub on_lag: Option<OnLag>,
    /// How long old heads stay reachable.
    pub history: Option<History>,
}

impl Durability {
    /// What holds when neither volume nor pool says anything: five seconds.
    pub const fn built_in() -> Durability {
        Durability::Bounded { seconds: SECONDS_BUILT_IN }
    }

    /// How many seconds of writes the store may lack; `None` where it is not counted in time.
    pub const fn bound_seconds(self) -> Option<u32> {
        match self {
            Durability::Ephemeral => None,
            Durability::Bounded { seconds } => Some(seconds),
            Durability::Sync => Some(SECONDS_BUILT_IN),
        }
    }
}

impl Compression {
    /// What holds when neither volume nor pool says anything: LZ4.
    pub const fn built_in() -> Compression {
        Compression::Lz4
    }
}

impl Properties {
    /// These properties, with those of `pool` where a volume says nothing.
    pub fn over(&self, pool: &Properties) -> Properties {
        Properties {
            durability: self.durability.or(pool.durability),
            compression: self.compression.or(pool.compression),
            on_lag: self.on_lag.or(pool.on_lag),
            history: self.history.or(pool.history),
        }
    }

    /// The durability, or the built-in one.
    pub fn durability_or_built_in(&self) -> Durability {
        self.durability.unwrap_or(Durability::built_in())
    }

    /// The compression, or the built-in one.
    pub fn compression_or_built_in(&self) -> Compression {
        self.compression.unwrap_or(Compression::built_in())
    }

    /// What happens while the store lags behind, or the built-in one.
    pub fn on_lag_or_built_in(&self) -> OnLag {
        self.on_lag.unwrap_or_default()
    }

    /// How long old heads stay reachable, or the built-in time.
    pub fn history_or_built_in(&self) -> History {
        self.history.unwrap_or_default()
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Ephemeral => to.write_str("ephemeral"),
            Durability::Bounded { seconds } => write!(to, "bounded({seconds}s)"),
            Durability::Sync => to.write_str("sync"),
        }
    }
}

impl FromStr for Durability {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Durability, FormatError> {
        let seconds = text
            .strip_prefix("bounded(")
            .and_then(|rest| rest.strip_suffix(')'))
            .map(|inner| inner.strip_suffix('s').unwrap_or(inner))
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        match seconds {
            Some(seconds) => Ok(Durability::Bounded { seconds }),
            None if text == "ephemeral" => Ok(Durability::Ephemeral),
            None if text == "sync" => Ok(Durability::Sync),
            None => Err(FormatError::new(
                "property durability",
                "value",
                "ephemeral, sync, or bounded(Ns) with N from 1 to 86400",
                excerpt(text),
            )),
        }
    }
}

impl fmt::Display for OnLag {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            OnLag::Alarm => "alarm",
            OnLag::Stall => "stall",
        })
    }
}

impl FromStr for OnLag {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<OnLag, FormatError> {
        match text {
            "alarm" => Ok(OnLag::Alarm),
            "stall" => Ok(OnLag::Stall),
            _ => Err(FormatError::new("property on_lag", "value", "alarm or stall", excerpt(text))),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::Off => to.write_str("off"),
            Compression::Lz4 => to.write_str("lz4"),
            Compression::Zstd(level) => write!(to, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Compression, FormatError> {
        let level = text
            .strip_prefix("zstd:")
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|level| (1..=LEVEL_MAX).contains(level));
        match (text, level) {
            ("off", _) => Ok(Compression::Off),
            ("lz4", _) => Ok(Compression::Lz4),
            (_, Some(level)) => Ok(Compression::Zstd(level)),
            _ => Err(FormatError::new(
                "property compression",
                "value",
                "off, lz4, or zstd:N with N from 1 to 19",
                excerpt(text),
            )),
        }
    }
}

impl Properties {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let set = [
            self.durability.is_some(),
            self.compression.is_some(),
            self.on_lag.is_some(),
            self.history.is_some(),
        ];
        out.put_u16(set.into_iter().map(u16::from).sum());
        if let Some(durability) = self.durability {
            let (kind, seconds) = match durability {
                Durability::Ephemeral => (0, 0),
                Durability::Bounded { seconds } => (1, seconds),
                Durability::Sync => (2, 0),
            };
            out.put_u16(KEY_DURABILITY);
            out.put_u16(5);
            out.put_u8(kind);
            out.put_u32(seconds);
        }
        if let Some(compression) = self.compression {
            let (kind, level) = match compression {
                Compression::Off => (0, 0),
                Compression::Lz4 => (1, 0),
                Compression::Zstd(level) => (2, level as u8),
            };
            out.put_u16(KEY_COMPRESSION);
            out.put_u16(2);
            out.put_u8(kind);
            out.put_u8(level);
        }
        if let Some(on_lag) = self.on_lag {
            out.put_u16(KEY_ON_LAG);
            out.put_u16(1);
            out.put_u8(on_lag as u8);
        }
        if let Some(history) = self.history {
            out.put_u16(KEY_HISTORY);
            out.put_u16(4);
            out.put_u32(history.seconds());
        }
    }

    pub(crate) fn parse(from: &mut Reader<'_>) -> Result<Properties, FormatError> {
        let mut properties = Properties::default();
        let mut last = 0;
        for _ in 0..from.u16("count of properties")? {
            let key = from.u16("property key")?;
            ensure(key > last, WHAT, "key", "ascending keys", key)?;
            last = key;
            let length = from.u16("property length")?;
            let mut value = Reader::new(WHAT, from.take("property value", usize::from(length))?);
            match key {
                KEY_DURABILITY => properties.durability = Some(parse_durability(&mut value)?),
                KEY_COMPRESSION => properties.compression = Some(parse_compression(&mut value)?),
                KEY_ON_LAG => properties.on_lag = Some(parse_on_lag(&mut value)?),
                KEY_HISTORY => properties.history = Some(History::parse(value.u32("history seconds")?)?),
                _ => {
                    let known = "durability, compression, on lag or history";
                    return Err(FormatError::newer(WHAT, "key", known, key));
                }
            }
            value.finish()?;
        }
        Ok(properties)
    }
}

fn parse_durability(from: &mut Reader<'_>) -> Result<Durability, FormatError> {
    match (from.u8("durability kind")?, from.u32("durability seconds")?) {
        (0, 0) => Ok(Durability::Ephemeral),
        (1, seconds @ 1..=SECONDS_MAX) => Ok(Durability::Bounded { seconds }),
        (2, 0) => Ok(Durability::Sync),
        (kind @ 0..=2, seconds) => Err(FormatError::new(
            WHAT,
            "durability",
            "1 to 86400 seconds of kind 1, 0 of another",
            format_args!("{seconds} of kind {kind}"),
        )),
        (kind, _) => Err(FormatError::newer(WHAT, "durability", "kind 0, 1 or 2", kind)),
    }
}

fn parse_on_lag(from: &mut Reader<'_>) -> Result<OnLag, FormatError> {
    match from.u8("on lag")? {
        0 => Ok(OnLag::Alarm),
        1 => Ok(OnLag::Stall),
        kind => Err(FormatError::newer(WHAT, "on lag", "0 or 1", kind)),
    }
}

fn parse_compression(from: &mut Reader<'_>) -> Result<Compression, FormatError> {
    match (from.u8("compression kind")?, from.u8("compression level")?) {
        (0, 0) => Ok(Compression::Off),
        (1, 0) => Ok(Compression::Lz4),
        (2, level) if (1..=LEVEL_MAX as u8).contains(&level) => Ok(Compression::Zstd(level as i8)),
        (kind @ 0..=2, level) => Err(FormatError::new(
            WHAT,
            "compression level",
            "1 to 19",
            format_args!("{level} of kind {kind}"),
        )),
        (kind, _) => Err(FormatError::newer(WHAT, "compression", "kind 0, 1 or 2", kind)),
    }
}
