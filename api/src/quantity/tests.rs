//! Table and property tests of quantities.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn quantities_print_canonically() {
    for (text, canonical) in [
        ("0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("01", "1"),
        ("1.", "1"),
        (".5", "500m"),
        ("1.5", "1500m"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("100k", "100k"),
        ("1000k", "1M"),
        ("0.1m", "100u"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("1E", "1E"),
        ("1000E", "1000E"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("100e1", "1e3"),
        ("1.5e3", "1500"),
        ("1e-3", "1e-3"),
        ("12e6", "12e6"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.001Ki", "1024m"),
        ("0.0001Ki", "102400u"),
        ("1000Ki", "1000Ki"),
        ("1023Ki", "1023Ki"),
        ("-4Mi", "-4Mi"),
        ("1048576Ei", "9223372036854775807"),
        ("1.1Ei", "1268213655067531673600m"),
    ] {
        let quantity: Quantity = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(quantity.to_string(), canonical, "{text:?}");
    }
}

#[test]
fn nonsense_is_refused() {
    for (text, why) in [
        ("", Error::Format),
        ("-", Error::Format),
        (".", Error::Format),
        ("1.1.1", Error::Format),
        ("1 Gi", Error::Format),
        ("1Gi ", Error::Format),
        ("aoeu", Error::Format),
        ("1+1.0M", Error::Format),
        ("é", Error::Format),
        ("1i", Error::Suffix),
        ("1mi", Error::Suffix),
        ("1ee3", Error::Suffix),
        ("3.01e-", Error::Suffix),
        ("1KM", Error::Suffix),
        ("1e40", Error::Number),
        ("1e99999999999", Error::Suffix),
    ] {
        assert_eq!(text.parse::<Quantity>(), Err(why), "{text:?}");
    }
    assert_eq!("0e2147483647".parse(), Ok(Quantity::ZERO));
}

#[test]
fn values_round_away_from_zero() {
    for (text, value, millis) in [
        ("100m", 1, 100),
        ("-100m", -1, -100),
        ("1.5", 2, 1500),
        ("1n", 1, 1),
        ("2Ki", 2048, 2_048_000),
        ("1E", 1_000_000_000_000_000_000, i64::MAX),
    ] {
        let quantity: Quantity = text.parse().unwrap();
        assert_eq!((quantity.value(), quantity.milli_value()), (value, millis), "{text}");
    }
}

#[test]
fn sums_are_written_as_their_first_summand() {
    let parse = |text: &str| text.parse::<Quantity>().unwrap();
    for (a, b, sum, difference) in [
        ("1Gi", "1G", "2073741824", "73741824"),
        ("0", "1Gi", "1Gi", "-1Gi"),
        ("100m", "900m", "1", "-800m"),
        ("1k", "1Ki", "2024", "-24"),
    ] {
        assert_eq!((parse(a) + parse(b)).to_string(), sum, "{a} + {b}");
        assert_eq!((parse(a) - parse(b)).to_string(), difference, "{a} - {b}");
    }
    assert_eq!(parse("1Ki"), parse("1024"));
    assert!(parse("1Gi") > parse("1G"));
}

proptest! {
    #[test]
    fn the_canonical_form_is_worth_the_same(
        number in "[0-9]{1,12}(\\.[0-9]{0,24})?",
        suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "Pi", "e3", "E-2"]),
    ) {
        let quantity: Quantity = format!("{number}{suffix}").parse().unwrap();
        let printed = quantity.to_string();
        let again: Quantity = printed.parse().unwrap();
        prop_assert_eq!(again, quantity);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn whole_numbers_are_worth_what_they_say(value in any::<i64>()) {
        for format in [Format::DecimalSi, Format::BinarySi, Format::DecimalExponent] {
            let quantity: Quantity = Quantity::new(value, format).to_string().parse().unwrap();
            prop_assert_eq!(quantity.value(), value);
        }
    }

    #[test]
    fn fractions_agree_with_floating_point(whole in 0..1_000_000_u32, fraction in "[0-9]{1,6}", exponent in 0..6_usize) {
        let (suffix, power) = BINARY[exponent];
        let quantity: Quantity = format!("{whole}.{fraction}{suffix}").parse().unwrap();
        let expected = format!("{whole}.{fraction}").parse::<f64>().unwrap() * 2_f64.powi(power as i32);
        let expected = expected.min(i64::MAX as f64);
        prop_assert!((quantity.as_f64() - expected).abs() <= expected * 1e-12 + 1e-9, "{} {}", quantity, expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9.eEiKn+\\-\\PC]{0,40}") {
        let _ = text.parse::<Quantity>();
    }
}
