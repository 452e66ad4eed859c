use http::HeaderValue;

use super::*;

#[test]
fn a_pause_doubles_up_to_its_bound() {
    let config = RetryConfig::default();
    let most = [1, 2, 3, 4, 5, 6, 99, u32::MAX].map(|made| most_backoff(&config, made).as_millis());
    assert_eq!(most, [25, 50, 100, 200, 250, 250, 250, 250]);
}

#[test]
fn reads_when_an_answer_says_to_come_again() {
    let now = Instant::now();
    let date = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    let cases = [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("99999999999999999999", Some(1 << 30)),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
        ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ];
    for (text, seconds) in cases {
        let headers = [(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect();
        let expected = seconds.map(|seconds| now + Duration::from_secs(seconds));
        assert_eq!(retry_after(&headers, now, date), expected, "{text:?}");
    }
    assert_eq!(retry_after(&HeaderMap::new(), now, date), None);
}
