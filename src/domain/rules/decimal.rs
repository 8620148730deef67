//! Decimal numbers, compared exactly: digit by digit, never as floats. What is written as `8.10` equals `8.1`, and
//! `0.1` is not `0.10000000000000000001`.

use std::cmp::Ordering;

/// A number as its sign, its digits without leading and trailing zeros, and how many of them stand before the point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    whole: i64,
}

/// Longest exponent, in characters: nothing is ever expanded, so this bounds only the sum of two of them.
const EXPONENT_LENGTH_MAX: usize = 9;

impl Decimal {
    /// Reads `-12.50`, also with an exponent as in JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Self::exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = all.iter().take_while(|digit| **digit == b'0').count();
        let mut digits = all.get(leading..).unwrap_or_default().to_vec();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, whole: 0 });
        }
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
        Some(Self { negative, digits, whole: point + exponent })
    }

    fn exponent(text: &str) -> Option<i64> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let fits = (1..=EXPONENT_LENGTH_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        text.strip_prefix('+').unwrap_or(text).parse().ok().filter(|_| fits)
    }

    fn size(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.whole.cmp(&other.whole).then_with(|| self.digits.cmp(&other.digits)),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.size(other),
            (true, true) => other.size(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        for (a, b, order) in [
            ("8.10", "8.1", Ordering::Equal),
            ("008", "8", Ordering::Equal),
            ("-0", "0.00", Ordering::Equal),
            ("1e3", "1000", Ordering::Equal),
            ("1E-3", "0.001", Ordering::Equal),
            ("0.1", "0.10000000000000000001", Ordering::Less),
            ("9.9", "10", Ordering::Less),
            ("-9.9", "-10", Ordering::Greater),
            ("-1", "0", Ordering::Less),
            ("0", "0.0001", Ordering::Less),
            ("1e999999999", "9e999999998", Ordering::Greater),
        ] {
            let (x, y) = (Decimal::parse(a).unwrap(), Decimal::parse(b).unwrap());
            assert_eq!((x.cmp(&y), y.cmp(&x)), (order, order.reverse()), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_none() {
        for text in ["", "-", ".5", "8.", "1_000", "0x10", "1e", "1e1000000000", "e3", "+1", "１", "1.2.3", " 1", "nan"]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_order_of_the_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let parse = |n: i64| {
                let sign = if n < 0 { "-" } else { "" };
                Decimal::parse(&format!("{sign}{}.{:03}", n.abs() / 1000, n.abs() % 1000)).unwrap()
            };
            prop_assert_eq!(parse(a).cmp(&parse(b)), a.cmp(&b));
        }
    }
}
