use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt;

use super::{Incoming, ProxyBody, Replay, Source, TooLarge, tap};
use crate::{
    BoxError,
    test_support::{Frames, frames},
};

async fn next<B>(body: &mut ProxyBody<B>) -> Option<Result<Bytes, BoxError>>
where
    ProxyBody<B>: Body<Data = Bytes, Error = BoxError>,
    B: Unpin,
{
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

fn source(data: &[&'static str]) -> Source<Frames> {
    Incoming::Plain(frames(data)).into_source()
}

async fn text(body: impl Body<Data = Bytes, Error = BoxError>) -> Result<String, BoxError> {
    let whole = body.collect().await?.to_bytes();
    Ok(String::from_utf8(whole.to_vec())?)
}

#[tokio::test]
async fn what_was_read_ahead_goes_out_first() {
    let mut source = source(&["ab", "c", "d"]);
    let read = source.read_ahead(4).await.expect("no error").expect("short enough");
    assert_eq!(read, "abcd");
    let again = source.read_ahead(4).await.expect("no error").expect("short enough");
    assert_eq!(again, "abcd");
    assert_eq!(text(ProxyBody::from(Incoming::Shared(source))).await.expect("whole"), "abcd");
}

#[tokio::test]
async fn too_long_a_body_is_not_read_to_its_end() {
    let mut source = source(&["ab", "c", "d"]);
    assert!(matches!(source.read_ahead(2).await, Ok(Err(TooLarge))));
    assert_eq!(text(ProxyBody::from(Incoming::Shared(source))).await.expect("whole"), "abcd");
}

#[tokio::test]
async fn taps_see_all_frames_whenever_they_were_added() {
    let mut source = source(&["ab", "c"]);
    let (early, early_body) = tap::<Frames>(source.size_hint(), 10);
    source.add_tap(early);
    source.read_ahead(10).await.expect("no error").expect("short enough");
    let (late, late_body) = tap::<Frames>(source.size_hint(), 10);
    source.add_tap(late);
    let body = ProxyBody::from(Incoming::Shared(source));
    assert_eq!(text(body).await.expect("whole"), "abc");
    assert_eq!(text(early_body).await.expect("whole"), "abc");
    assert_eq!(text(late_body).await.expect("whole"), "abc");
}

#[tokio::test]
async fn a_slow_tap_is_given_up_and_the_original_goes_on() {
    let mut source = source(&["abc", "def", "ghi"]);
    let (sender, tapped) = tap::<Frames>(source.size_hint(), 5);
    source.add_tap(sender);
    let body = ProxyBody::from(Incoming::Shared(source));
    assert_eq!(text(body).await.expect("whole"), "abcdefghi");
    assert!(text(tapped).await.is_err());
}

#[tokio::test]
async fn a_tap_of_a_broken_body_breaks_too() {
    let mut source = source(&["abc", "def"]);
    let (sender, tapped) = tap::<Frames>(source.size_hint(), 10);
    source.add_tap(sender);
    let mut body = ProxyBody::from(Incoming::Shared(source));
    assert_eq!(next(&mut body).await.expect("a frame").expect("no error"), "abc");
    drop(body);
    assert!(text(tapped).await.is_err());
}

#[tokio::test]
async fn trailers_reach_everybody() {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        HeaderValue::from_static("1"),
    )]);
    let body = frames(&["a"]).with_trailers(trailers.clone());
    let mut source = Incoming::Plain(body).into_source();
    let (sender, tapped) = tap::<Frames>(source.size_hint(), 5);
    source.add_tap(sender);
    let replay = Replay::new(source, 5);
    for _ in 0..2 {
        let collected = replay.next_try().collect().await.expect("whole");
        assert_eq!(collected.trailers(), Some(&trailers));
    }
    assert_eq!(tapped.collect().await.expect("whole").trailers(), Some(&trailers));
}

#[tokio::test]
async fn a_short_body_is_sent_again() {
    let replay = Replay::new(source(&["ab", "cd"]), 4);
    for _ in 0..3 {
        assert!(replay.can_restart());
        assert_eq!(text(replay.next_try()).await.expect("whole"), "abcd");
    }
}

#[tokio::test]
async fn the_next_try_goes_on_where_the_last_one_stopped() {
    let replay = Replay::new(source(&["ab", "cd"]), 4);
    let mut first = replay.next_try();
    assert_eq!(next(&mut first).await.expect("a frame").expect("no error"), "ab");
    let second = replay.next_try();
    assert!(next(&mut first).await.expect("a frame").is_err());
    assert_eq!(text(second).await.expect("whole"), "abcd");
}

#[tokio::test]
async fn a_long_body_is_sent_once() {
    let replay = Replay::new(source(&["ab", "cd", "ef"]), 3);
    assert!(replay.can_restart());
    assert_eq!(text(replay.next_try()).await.expect("whole"), "abcdef");
    assert!(!replay.can_restart());
}

#[tokio::test]
async fn size_hints_tell_the_whole_length() {
    let body = http_body_util::Full::new(Bytes::from_static(b"abc"));
    let replay = Replay::new(Incoming::Plain(body).into_source(), 3);
    assert_eq!(replay.next_try().size_hint().exact(), Some(3));
    text(replay.next_try()).await.expect("whole");
    assert_eq!(replay.next_try().size_hint().exact(), Some(3));
    let known_long = http_body_util::Full::new(Bytes::from_static(b"abcd"));
    assert!(!Replay::new(Incoming::Plain(known_long).into_source(), 3).can_restart());
}
