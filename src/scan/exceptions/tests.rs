use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn an_exception_is_for_one_rule_and_one_secret_or_blob() {
    let text = format!("# accepted\n\nblob:{ID} github-pat a test key\nsecret:{ID} x y\n");
    let exceptions = Exceptions::parse(&text).unwrap();
    let ruling = |rule, secret, blob| exceptions.ruling(rule, secret, blob);
    assert_eq!(ruling("github-pat", "", Some(ID)), Ruling::Accepted);
    assert_eq!(ruling("github-pat", ID, None), Ruling::None);
    assert_eq!(ruling("x", ID, None), Ruling::Accepted);
    assert_eq!(ruling("other", ID, Some(ID)), Ruling::None);
}

#[test]
fn an_exception_holds_through_its_last_day() {
    let text = format!("secret:{ID} rule until=2026-03-01 for the demo");
    let exceptions = Exceptions::parse(&text).unwrap();
    let on = |day| exceptions.ruling_on(day, "rule", &[Some(format!("secret:{ID}"))]);
    assert_eq!(on("2026-03-01"), Ruling::Accepted);
    let until = "2026-03-01".to_owned();
    assert_eq!(on("2026-03-02"), Ruling::Expired { until, line: 1 });
}

#[test]
fn a_bad_line_is_named() {
    for bad in [
        "github-pat".to_owned(),
        format!("blob:{} rule reason", &ID[1..]),
        format!("path:{ID} rule reason"),
        format!("blob:{ID}"),
        format!("blob:{ID} rule"),
        format!("blob:{ID} rule until=2026-13-01 reason"),
        format!("blob:{ID} rule until=tomorrow reason"),
        format!("blob:{ID} rule until=2026-12-01"),
        format!("blob:{ID} rule reason until=2026-12-01"),
        format!("blob:{ID} rule a reason (until=2026-12-01)"),
        format!("blob:{ID} rule until=2026-12-01 until=2027-12-01 reason"),
        format!("blob:{ID} until=2026-12-01 rule reason"),
        format!("blob:{ID} rule untill=2026-12-01 reason"),
        format!("blob:{ID} rule UNTIL=2026-12-01 reason"),
        format!("blob:{ID} rule until: 2026-12-01 reason"),
        format!("blob:{ID} rule reason until 2026-12-01"),
        format!("blob:{ID} rule expires=2026-12-01 reason"),
    ] {
        let error = Exceptions::parse(&format!("# one\n{bad}\n"));
        assert_eq!(error.map_err(|(line, _)| line).err(), Some(2), "{bad}");
    }
}

#[test]
fn a_reason_may_say_anything_else() {
    for reason in [
        "leaked on 2026-12-01, rotated",
        "kept until the move",
        "A=1 in a test, see https://example.com/a?b=c",
    ] {
        Exceptions::parse(&format!("blob:{ID} rule until=2026-12-01 {reason}")).unwrap();
    }
}

#[test]
fn days_become_dates() {
    // `date -u -d @$((86400 * N)) +%F`
    assert_eq!(date(0), "1970-01-01");
    assert_eq!(date(11_016), "2000-02-29");
    assert_eq!(date(20_786), "2026-11-29");
    assert_eq!(date(24_105), "2035-12-31");
    assert_eq!(date(24_106), "2036-01-01");
}
