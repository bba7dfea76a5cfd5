//! Durations as they are written in an attribute: `90s`, `10m`, `1h30m`.

/// The units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The milliseconds, or what is wrong with the text.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let mut rest = text;
    let mut sum = 0u64;
    // Units that may still come: each is shorter than the one before.
    let mut units = &UNITS[..];
    while !rest.is_empty() || units.len() == UNITS.len() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        if digits.is_empty() {
            return Err(format!("`{text}` is no duration: write numbers with units, as in \"10m\" or \"1h30m\""));
        }
        let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let what = if unit.is_empty() { format!("`{digits}` has no unit") } else { format!("no unit is `{unit}`") };
            return Err(format!("{what}: use `w`, `d`, `h`, `m`, `s` or `ms`"));
        };
        let Some(place) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("`{unit}` in `{text}` comes after the same or a shorter unit"));
        };
        units = units.get(place + 1..).unwrap_or_default();
        let part = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*length));
        sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(|| format!("`{text}` is too long"))?;
        rest = after;
    }
    if sum == 0 {
        return Err("an expiry of zero would store nothing".to_string());
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_added() {
        for (text, expected) in [
            ("1ms", 1),
            ("2s", 2_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1w1d1h1m1s1ms", 694_861_001),
            ("0h5s", 5_000),
            ("18446744073709551615ms", u64::MAX),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "is no duration"),
            ("m", "is no duration"),
            (" 10m", "is no duration"),
            ("-1s", "is no duration"),
            ("1h 30m", "is no duration"),
            ("10", "`10` has no unit"),
            ("1h30", "`30` has no unit"),
            ("10 m", "`10` has no unit"),
            ("1.5h", "`1` has no unit"),
            ("10y", "no unit is `y`"),
            ("10M", "no unit is `M`"),
            ("30m1h", "`h` in `30m1h` comes after"),
            ("1s1s", "`s` in `1s1s` comes after"),
            ("0s", "zero"),
            ("18446744073709551615s", "too long"),
            ("99999999999999999999s", "too long"),
            ("18446744073709551s616ms", "too long"),
        ] {
            let error = milliseconds(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
