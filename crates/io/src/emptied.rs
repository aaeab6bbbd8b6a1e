//! Vectors of borrowed things that are used again for things borrowed for another time.

/// The vector without its elements, as one of another type. It keeps its memory where both types have one layout, as
/// a type has with two lifetimes; otherwise it is merely empty.
pub fn emptied<A, B>(mut vector: Vec<A>) -> Vec<B> {
    vector.clear();
    // The standard library collects in place, into the memory that the iterator came with.
    vector.into_iter().map(|_| unreachable!("the vector was cleared")).collect()
}

#[cfg(test)]
mod tests {
    use super::emptied;

    #[test]
    fn the_memory_is_kept() {
        let text = String::from("text");
        let mut borrowed: Vec<&str> = Vec::with_capacity(100);
        borrowed.push(&text);
        let again: Vec<&'static str> = emptied(borrowed);
        assert!(again.is_empty() && again.capacity() >= 100, "capacity {}", again.capacity());
    }
}
