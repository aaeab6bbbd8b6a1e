//! The root of a map whose size changes. The root that a head names has the height that the head's size says, so a
//! change of height wraps the old root in inner pages, or takes it out of them. Everything below stays as it is.

use esker_format::{
    names,
    page::{self, Child, PackWriter, Page, PageRef},
};

use super::{PageSource, read};
use crate::{
    EngineError, Result,
    core::fold::{self, Place, Subtree},
};

/// The root of a map of `new_blocks`, of which `old` was the root while it had `old_blocks`. What is cut off must be
/// holes. New pages go to `writer`; whoever calls uploads the pack before a head names the root.
///
/// # Errors
/// When a page cannot be read, or maps blocks that would be cut off.
pub async fn resize(
    pages: &dyn PageSource,
    old: Option<PageRef>,
    (old_blocks, new_blocks): (u64, u64),
    writer: &mut PackWriter,
) -> Result<Option<PageRef>> {
    let Some(mut root) = old else { return Ok(None) };
    let (mut level, wanted) = (page::height(old_blocks) - 1, page::height(new_blocks) - 1);
    while level < wanted {
        level += 1;
        root = writer.add(level, 0, &Page::Inner(vec![(0, Child::Page(root))]));
    }
    while level > wanted {
        let place = Place { level, index: 0 };
        level -= 1;
        let page = read(pages, &root, place, old_blocks).await?;
        match first_child(&page, &root)? {
            Subtree::Hole => return Ok(None),
            Subtree::Page(child) => root = child,
            // A root has no parent that could say it in a word.
            Subtree::Zero => {
                return Ok(Some(writer.add(wanted, 0, &fold::uniform_page(wanted, true))));
            }
        }
    }
    Ok(Some(root))
}

/// The first child of an inner page that has no other.
fn first_child(page: &Page, reference: &PageRef) -> Result<Subtree> {
    let Page::Inner(children) = page else { unreachable!("the page was checked against its level") };
    if children.iter().any(|(child, _)| *child != 0) {
        return Err(EngineError::Damaged {
            object: format!("{} at {}", names::pack(reference.pack), reference.offset),
            message: "expected nothing mapped behind the new end of the volume, found pages".to_owned(),
        });
    }
    Ok(fold::child_of(children, 0))
}
