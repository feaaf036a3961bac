//! The system's allocator, which counts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Counts what each thread allocates. Install it with `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// Allocations and live bytes of one thread since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls that asked for memory, also those that enlarge it.
    pub allocations: usize,
    /// Bytes asked for and not given back, negative if another thread asked.
    pub bytes: isize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { allocations: 0, bytes: 0 }) };
}

impl Count {
    /// The count of this thread.
    #[must_use]
    pub fn now() -> Self {
        COUNT.get()
    }

    /// What was allocated since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

fn add(allocations: usize, bytes: isize) {
    // A thread that ends may free memory after its counter is gone.
    let _ = COUNT.try_with(|cell| {
        let count = cell.get();
        cell.set(Count {
            allocations: count.allocations + allocations,
            bytes: count.bytes + bytes,
        });
    });
}

#[expect(unsafe_code, reason = "the trait is unsafe; every call is passed on as it came")]
// SAFETY: all of it is done by `System`, with the arguments of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(1, layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(0, -layout.size().cast_signed());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(1, size.cast_signed() - layout.size().cast_signed());
        unsafe { System.realloc(at, layout, size) }
    }
}
