//! Properties as a request has them.

use esker_control::api;
use esker_engine::{
    EngineError, Result,
    volume::{PropertyChange, Wish},
};
use esker_format::{FormatError, property::Properties};

use crate::config::nearest;

/// Their keys.
const KEYS: [&str; 4] = ["durability", "compression", "on_lag", "history"];

/// The properties of a volume that is to be made.
pub(crate) fn properties(
    durability: Option<&str>,
    compression: Option<&str>,
    on_lag: Option<&str>,
    history: Option<&str>,
) -> Result<Properties> {
    Ok(Properties {
        durability: durability.map(str::parse).transpose()?,
        compression: compression.map(str::parse).transpose()?,
        on_lag: on_lag.map(str::parse).transpose()?,
        history: history.map(str::parse).transpose()?,
    })
}

/// What is to become of the properties of a volume that exists.
pub(crate) fn change(request: &api::SetProperties) -> Result<PropertyChange> {
    if request.set.is_empty() && request.inherit.is_empty() {
        return Err(EngineError::Invalid(
            "nothing is to be changed: expected properties to set or to inherit".into(),
        ));
    }
    let mut change = PropertyChange::default();
    for (key, value) in &request.set {
        if request.inherit.contains(key) {
            return Err(EngineError::Invalid(format!(
                "property {key} is to be {value} and to be inherited; expected one of these"
            )));
        }
        put(&mut change, key, Some(value))?;
    }
    request.inherit.iter().try_for_each(|key| put(&mut change, key, None))?;
    Ok(change)
}

fn put(change: &mut PropertyChange, key: &str, value: Option<&str>) -> Result<()> {
    match key {
        "durability" => change.durability = wish(value)?,
        "compression" => change.compression = wish(value)?,
        "on_lag" => change.on_lag = wish(value)?,
        "history" => change.history = wish(value)?,
        _ => {
            let meant = nearest(key, KEYS.into_iter()).map(|key| format!("; did you mean {key}?"));
            return Err(EngineError::Invalid(format!(
                "there is no property {key:?}: expected {}{}",
                KEYS.join(", "),
                meant.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

fn wish<T: std::str::FromStr<Err = FormatError>>(value: Option<&str>) -> Result<Wish<T>> {
    Ok(match value {
        Some(value) => Wish::Set(value.parse()?),
        None => Wish::Inherit,
    })
}

#[cfg(test)]
mod tests {
    use esker_format::property::{Durability, History, OnLag};

    use super::*;

    fn asked(set: &[(&str, &str)], inherit: &[&str]) -> Result<PropertyChange> {
        change(&api::SetProperties {
            set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            inherit: inherit.iter().map(|key| (*key).to_owned()).collect(),
        })
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = properties(Some("sync"), Some("off"), None, Some("7d")).unwrap();
        let after = asked(&[("on_lag", "stall"), ("history", "0s")], &["durability"]).unwrap().over(&before);
        assert_eq!(after, properties(None, Some("off"), Some("stall"), Some("0s")).unwrap());
        let all = asked(&[("durability", "sync")], &["compression", "on_lag", "history"]).unwrap();
        assert_eq!(
            all.over(&after),
            Properties { durability: Some(Durability::Sync), ..Properties::default() }
        );
        assert_eq!((after.on_lag, after.history), (Some(OnLag::Stall), History::of_seconds(0)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_says_what_would() {
        for (set, inherit, said) in [
            (&[][..], &[][..], "nothing is to be changed"),
            (&[("on-lag", "stall")], &[], "did you mean on_lag?"),
            (
                &[("", "sync")],
                &[],
                "there is no property \"\": expected durability, compression, on_lag, history",
            ),
            (&[], &["size"], "there is no property \"size\""),
            (&[("history", "1h")], &["history"], "expected one of these"),
            (&[("durability", "bounded(0s)")], &[], "N from 1 to 86400"),
            (&[("history", "3651d")], &[], "3650d"),
            (&[("compression", "")], &[], "off, lz4, or zstd:N"),
        ] {
            let error = asked(set, inherit).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
