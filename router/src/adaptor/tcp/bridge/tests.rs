use super::*;

const LEGACY: Framing = Framing::Legacy;
const LITE: Framing = Framing::Lite;

#[test]
fn openers_are_translated_only_where_they_may_not_be_understood() {
    for (opener, expected, first) in [
        (LEGACY, Expectation::Any, None),
        (LITE, Expectation::Any, None),
        (LEGACY, Expectation::Only(LEGACY), None),
        (LEGACY, Expectation::Probably(LEGACY), None),
        (LITE, Expectation::Only(LITE), None),
        (LITE, Expectation::Probably(LITE), None),
        // A 2.4 connector would call its server for a probe.
        (LITE, Expectation::Only(LEGACY), Some(LEGACY)),
        (LITE, Expectation::Probably(LEGACY), Some(LITE)),
        (LITE, Expectation::Open, Some(LITE)),
        // A lite connector does not judge a legacy opener before octets come.
        (LEGACY, Expectation::Only(LITE), Some(LITE)),
        (LEGACY, Expectation::Probably(LITE), Some(LITE)),
        (LEGACY, Expectation::Open, Some(LITE)),
    ] {
        assert_eq!(
            ask_first(opener, expected),
            first,
            "{opener:?} to {expected:?}"
        );
    }
}
