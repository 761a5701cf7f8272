//! Days and times of day in integers.

use crate::field::{Date, Instant};

const MICROS_A_MINUTE: i64 = 60_000_000;
const MICROS_A_DAY: i64 = 86_400_000_000;

/// Year, month and day of a date (proleptic Gregorian).
pub fn civil(date: Date) -> (i32, u8, u8) {
    // Days from 0000-03-01, so that a leap day is the last day of its year.
    let days = date.0 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    (year, month as u8, day as u8)
}

/// The date of a year, month and day.
pub const fn date(year: i32, month: i32, day: i32) -> Date {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    Date(era * 146_097 + of_era - 719_468)
}

/// Day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weekday {
    /// Monday to Friday.
    Work,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl Date {
    /// The kind of day.
    pub fn weekday(self) -> Weekday {
        // 1970-01-01 was a Thursday.
        match (self.0 + 3).rem_euclid(7) {
            5 => Weekday::Saturday,
            6 => Weekday::Sunday,
            _ => Weekday::Work,
        }
    }
    /// The date this many days later.
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0 + days)
    }
    /// The next Monday to Friday.
    pub fn next_working_day(self) -> Self {
        let mut next = self.plus(1);
        while next.weekday() != Weekday::Work {
            next = next.plus(1);
        }
        next
    }
    /// That day at this hour and minute, UTC.
    pub const fn at(self, hour: i64, minute: i64) -> Instant {
        Instant(self.0 as i64 * MICROS_A_DAY + (hour * 60 + minute) * MICROS_A_MINUTE)
    }
}

impl Instant {
    /// Milliseconds since 1970-01-01 UTC.
    pub const fn millis(self) -> i64 {
        self.0 / 1_000
    }
    /// The time this many seconds later.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0 + seconds * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for day in date(1600, 1, 1).0..=date(2400, 12, 31).0 {
            let (year, month, of_month) = civil(Date(day));
            assert_eq!(date(year, i32::from(month), i32::from(of_month)), Date(day));
        }
    }

    #[test]
    fn known_days_are_where_they_belong() {
        assert_eq!(date(2016, 5, 31), Date(16_952));
        assert_eq!(civil(Date(0)), (1970, 1, 1));
        assert_eq!(date(2013, 1, 5).weekday(), Weekday::Saturday);
        assert_eq!(date(2013, 1, 4).next_working_day(), date(2013, 1, 7));
    }
}
