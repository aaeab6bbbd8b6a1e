//! What the weather does to a request.

use std::time::Duration;

use crate::torture::writer::Random;

/// The weather of a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sky {
    /// Nothing happens.
    Clear,
    /// One request in ten goes wrong, in any way.
    Showers,
    /// Most requests fail with 500 and 503.
    Failing,
    /// The store throttles, and says for how long.
    Throttling,
    /// Answers come late, one in twenty very late.
    Slow,
    /// PUTs are applied and not answered, or applied much later.
    Unclear,
    /// Bodies are cut, stand still, drip.
    Torn,
    /// Nobody is there.
    Away,
    /// The credentials have expired, and are not renewed yet.
    Expired,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Refuse,
    Status(u16),
    Delay(Duration),
    LoseAnswer,
    /// The client hears nothing; the request is applied that much later.
    Late(Duration),
    Cut,
    StandStill(Duration),
    Drip,
}

impl Sky {
    /// Every weather but a clear sky.
    pub const BAD: [Sky; 8] = [
        Sky::Showers,
        Sky::Failing,
        Sky::Throttling,
        Sky::Slow,
        Sky::Unclear,
        Sky::Torn,
        Sky::Away,
        Sky::Expired,
    ];

    pub(super) fn draw(self, put: bool, random: &mut Random) -> Fault {
        let ms =
            |low: u64, high: u64, random: &mut Random| Duration::from_millis(low + random.below(high - low));
        let chance = random.below(100);
        match self {
            Sky::Clear => Fault::None,
            Sky::Away => Fault::Refuse,
            Sky::Expired => Fault::Status(403),
            Sky::Showers if chance < 90 => Fault::None,
            Sky::Showers => match random.below(8) {
                0 => Fault::Refuse,
                1 => Fault::Status(500),
                2 => Fault::Status(503),
                3 => Fault::Delay(ms(10, 3_000, random)),
                4 => Fault::LoseAnswer,
                5 if put => Fault::Late(ms(100, 20_000, random)),
                6 => Fault::StandStill(ms(100, 15_000, random)),
                _ => Fault::Cut,
            },
            Sky::Failing if chance < 80 => Fault::Status(if chance < 40 { 500 } else { 503 }),
            Sky::Throttling if chance < 60 => Fault::Status(429),
            Sky::Slow if chance < 5 => Fault::Delay(ms(3_000, 25_000, random)),
            Sky::Slow => Fault::Delay(ms(5, 200, random)),
            Sky::Unclear if chance < 30 => Fault::LoseAnswer,
            Sky::Unclear if chance < 50 && put => Fault::Late(ms(100, 20_000, random)),
            Sky::Torn if chance < 20 => Fault::Cut,
            Sky::Torn if chance < 30 => Fault::StandStill(ms(1_000, 15_000, random)),
            Sky::Torn if chance < 60 => Fault::Drip,
            Sky::Failing | Sky::Throttling | Sky::Unclear | Sky::Torn => Fault::None,
        }
    }
}

/// An answer of the store's own.
pub(super) fn refusal(status: u16) -> String {
    let (words, code, more) = match status {
        403 => ("Forbidden", "ExpiredToken", ""),
        429 => ("Too Many Requests", "TooManyRequests", "Retry-After: 1\r\n"),
        503 => ("Service Unavailable", "SlowDown", ""),
        _ => ("Internal Server Error", "InternalError", ""),
    };
    let body = format!("<Error><Code>{code}</Code><Message>the weather is bad</Message></Error>");
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {words}\r\n{more}Content-Type: application/xml\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}
