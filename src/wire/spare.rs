//! Buffers and header maps that wait for their next use, per worker thread.

use std::cell::RefCell;

use bytes::BytesMut;
use http::HeaderMap;

/// More than this many of each are given back to the allocator: a burst must not keep its memory for ever.
const KEPT: usize = 128;
/// A smaller buffer is not worth keeping.
const ROOM: usize = 8 << 10;
/// A larger buffer or map was an exception and is not kept.
const BUFFER_BYTES: usize = 80 << 10;
const MAP_FIELDS: usize = 96;

thread_local! {
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, with room if one was kept.
pub fn buffer() -> BytesMut {
    // One that is still in use elsewhere is given up: its room comes back to the allocator with the last slice.
    while let Some(mut buffer) = BUFFERS.with_borrow_mut(Vec::pop) {
        if buffer.try_reclaim(ROOM) && buffer.capacity() <= BUFFER_BYTES {
            return buffer;
        }
    }
    BytesMut::new()
}

/// Keeps a buffer for its next use. The message that was read into it may still hold slices of it for a moment.
pub fn give_buffer(mut buffer: BytesMut) {
    buffer.clear();
    give(&BUFFERS, buffer);
}

/// An empty header map, with room if one was kept.
pub fn map() -> HeaderMap {
    MAPS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps a header map for its next use.
pub fn give_map(mut map: HeaderMap) {
    map.clear();
    if map.capacity() <= MAP_FIELDS {
        give(&MAPS, map);
    }
}

fn give<T>(kept: &'static std::thread::LocalKey<RefCell<Vec<T>>>, item: T) {
    // While the thread ends the list may be gone already; then the item just goes too.
    kept.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT {
            kept.push(item);
        }
    })
    .ok();
}
