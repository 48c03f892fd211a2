//! The fields of a cron expression as Unix means them.

use std::fmt::Write as _;

use super::cron::CronError;

/// A field of an expression: what it is called, and what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Field {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    /// What it may hold.
    #[must_use]
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "0-59",
            Self::Hour => "0-23",
            Self::DayOfMonth => "1-31",
            Self::Month => "1-12 or jan-dec",
            Self::DayOfWeek => "0-7 (0 and 7 are Sunday) or sun-sat",
        }
    }

    const fn bounds(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    fn refused(self, what: impl Into<String>) -> CronError {
        CronError::Field { field: self, what: what.into() }
    }

    /// A number, or a name of three letters in whatever case.
    fn value(self, text: &str) -> Result<u8, CronError> {
        let (low, high) = self.bounds();
        let names: &[&str] = match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &DAYS,
            _ => &[],
        };
        if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(low + u8::try_from(index).unwrap_or(high));
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(value) if is_number && (low..=high).contains(&value) => Ok(value),
            _ if is_number => Err(self.refused(format!("{text} is out of range"))),
            _ if text.is_empty() => Err(self.refused("a value is missing")),
            _ if text.contains(['?', '#']) || text.to_ascii_uppercase().ends_with(['L', 'W']) => {
                Err(self.refused(format!("{text:?} is of another dialect: `?`, `L`, `W` and `#` are not in Unix cron")))
            }
            _ => Err(self.refused(format!("{text:?} is no value"))),
        }
    }

    /// One member of a list: `*`, a value or a range, the first and the last with a step where there is one.
    fn element(self, text: &str) -> Result<Values, CronError> {
        let (low, high) = self.bounds();
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => (range, Some(self.step(step)?)),
        };
        let (from, until) = if range == "*" {
            // Sunday stands once in a star.
            (low, if self == Self::DayOfWeek { 6 } else { high })
        } else if let Some((from, until)) = range.split_once('-') {
            let from_value = self.value(from)?;
            // `fri-sun` ends on the Sunday after.
            let until_value = match self.value(until)? {
                0 if until.eq_ignore_ascii_case("sun") && from_value > 0 => 7,
                value => value,
            };
            if from_value > until_value {
                let words =
                    format!("the range {range} runs backwards: write two ranges, such as {from}-{high},{low}-{until}");
                return Err(self.refused(words));
            }
            (from_value, until_value)
        } else {
            let value = self.value(range)?;
            if step.is_some() {
                let words = format!(
                    "{text}: a step needs `*` or a range before it, such as {range}-{high}/{}",
                    step.unwrap_or(1)
                );
                return Err(self.refused(words));
            }
            (value, value)
        };
        let mut values = Values::default();
        (from..=until).step_by(step.unwrap_or(1)).for_each(|value| values.add(self, value));
        Ok(values)
    }

    fn step(self, text: &str) -> Result<usize, CronError> {
        let (low, high) = self.bounds();
        let most = usize::from(high - low) + usize::from(self != Self::DayOfWeek);
        match text.parse::<usize>() {
            Ok(step) if text.bytes().all(|byte| byte.is_ascii_digit()) && (1..=most).contains(&step) => Ok(step),
            _ => Err(self.refused(format!("the step {text:?} is not 1 to {most}: steps count within the field"))),
        }
    }
}

/// What a field allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Values {
    bits: u64,
    /// It begins with `*`: it restricts nothing, be there a step or not.
    pub(super) is_star: bool,
}

impl Values {
    pub(super) fn parse(field: Field, text: &str) -> Result<Self, CronError> {
        let mut all = Self { bits: 0, is_star: text.starts_with('*') };
        for element in text.split(',') {
            all.bits |= field.element(element)?.bits;
        }
        Ok(all)
    }

    fn add(&mut self, field: Field, value: u8) {
        // The other Sunday.
        let value = if field == Field::DayOfWeek { value % 7 } else { value };
        self.bits |= 1 << value;
    }

    fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |value| self.bits & (1 << value) != 0)
    }

    /// Whether it allows all of them.
    pub(super) fn is_all(self, field: Field) -> bool {
        let (low, high) = field.bounds();
        self.iter().count() == usize::from(high - low) + usize::from(field != Field::DayOfWeek)
    }

    /// The field in the words of the `cron` crate, which counts days of the week from 1, Sunday.
    pub(super) fn rewritten(self, field: Field) -> String {
        if self.is_all(field) {
            return "*".to_owned();
        }
        let mut text = String::new();
        for value in self.iter() {
            let value = value + u8::from(field == Field::DayOfWeek);
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to text cannot fail.
            write!(text, "{comma}{value}").unwrap_or_default();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(field: Field, text: &str) -> String {
        Values::parse(field, text).unwrap().rewritten(field)
    }

    #[test]
    fn fields_mean_what_they_mean_to_unix() {
        use Field::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
        for (field, text, expected) in [
            (Minute, "*", "*"),
            (Minute, "0-59", "*"),
            (Minute, "*/15", "0,15,30,45"),
            (Minute, "7,5,5-6", "5,6,7"),
            (Minute, "10-30/10,59", "10,20,30,59"),
            (Hour, "*/24", "0"),
            (DayOfMonth, "*/10", "1,11,21,31"),
            (Month, "jan,JUN-Aug", "1,6,7,8"),
            (DayOfWeek, "0", "1"),
            (DayOfWeek, "7", "1"),
            (DayOfWeek, "mon-fri", "2,3,4,5,6"),
            (DayOfWeek, "5-7", "1,6,7"),
            (DayOfWeek, "fri-sun", "1,6,7"),
            (DayOfWeek, "sun-sat", "*"),
            (DayOfWeek, "0-7", "*"),
            (DayOfWeek, "*/2", "1,3,5,7"),
        ] {
            assert_eq!(rewritten(field, text), expected, "{field:?} {text}");
        }
    }

    #[test]
    fn a_field_is_a_star_by_its_first_letter() {
        for (text, is_star) in [("*", true), ("*/2", true), ("*,5", true), ("1-31", false), ("5,*", false)] {
            assert_eq!(Values::parse(Field::DayOfMonth, text).unwrap().is_star, is_star, "{text}");
        }
    }
}
