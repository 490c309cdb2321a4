//! Columns, ages and dates for people.

use std::time::{Duration, UNIX_EPOCH};

use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// Aligned columns; nothing but the texts and space.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// `0.2s`, `42s`, `3m12s`, `5h03m`, `12d4h`; `-` for what has not happened.
pub(crate) fn age(ms: i64) -> String {
    let Ok(ms) = u64::try_from(ms) else { return "-".to_owned() };
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// RFC 3339 in UTC, `2026-11-21T12:00:00Z`; `-` for 0, which means never.
pub(crate) fn date(unix_ms: i64) -> String {
    match u64::try_from(unix_ms) {
        Ok(0) | Err(_) => "-".to_owned(),
        Ok(ms) => humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string(),
    }
}

/// The same with milliseconds, `2026-11-21T12:00:00.250Z`.
pub(crate) fn instant(unix_ms: i64) -> String {
    match u64::try_from(unix_ms) {
        Ok(0) | Err(_) => "-".to_owned(),
        Ok(ms) => humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string(),
    }
}

/// The reverse of [`date`], for arguments: `2026-11-21T12:00:00Z` or `2026-11-21 12:00:00`, in UTC.
pub(crate) fn parse_date(text: &str) -> Result<i64, String> {
    let time = humantime::parse_rfc3339_weak(text);
    let time = time.map_err(|_| "write a date in UTC, such as 2026-11-21T12:00:00Z".to_owned())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| "the date is before 1970".to_owned())?;
    i64::try_from(since.as_millis()).map_err(|_| "the date is too far away".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let check = |ms: i64, expected: &str| assert_eq!(age(ms), expected);
        check(-1, "-");
        check(0, "0.0s");
        check(240, "0.2s");
        check(9_999, "9.9s");
        check(10_000, "10s");
        check(192_000, "3m12s");
        check(5 * 3_600_000 + 180_000, "5h03m");
        check(12 * 86_400_000 + 4 * 3_600_000, "12d4h");
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        let now = 1_795_262_400_000;
        assert_eq!(parse_date(&date(now)), Ok(now));
        assert_eq!(date(0), "-");
        assert!(parse_date("tomorrow").is_err());
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let text = table(&["NAME", "N"], [vec!["a".into(), "1".into()], vec!["longer".into(), "22".into()]]);
        assert_eq!(text, "NAME    N\na       1\nlonger  22\n");
    }
}
