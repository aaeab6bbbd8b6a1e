//! A flame graph as a plain picture: a box for each function on what calls it, as wide as its share; its name and
//! share appear where the pointer rests.

use std::fmt::Write;

use super::stacks::{Frame, Node};

const WIDTH: f64 = 1400.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 17.0;
const HEAD: f64 = 40.0;
/// Narrower boxes are left out.
const BOX_MIN: f64 = 0.4;
/// Of a letter, about.
const LETTER: f64 = 6.4;

struct Picture {
    svg: String,
    all: u64,
    bottom: f64,
}

/// The tree, with the threads at the bottom.
pub(crate) fn svg(title: &str, tree: &Node) -> String {
    let scale = (WIDTH - 2.0 * MARGIN) / tree.samples.max(1) as f64;
    let height = HEAD + ROW * rows(tree, scale) as f64 + MARGIN;
    let mut picture = Picture { svg: String::new(), all: tree.samples.max(1), bottom: height - MARGIN };
    let _ = writeln!(
        picture.svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"14\">{}</text>",
        plain(title)
    );
    picture.calls(tree, (MARGIN, 0), scale);
    picture.svg.push_str("</svg>\n");
    picture.svg
}

/// How many boxes stand on each other at most, of those that are drawn.
fn rows(node: &Node, scale: f64) -> usize {
    let drawn = node.calls.values().filter(|call| call.samples as f64 * scale >= BOX_MIN);
    drawn.map(|call| 1 + rows(call, scale)).max().unwrap_or(0)
}

impl Picture {
    fn calls(&mut self, node: &Node, (mut left, row): (f64, usize), scale: f64) {
        for (frame, call) in &node.calls {
            let width = call.samples as f64 * scale;
            if width >= BOX_MIN {
                self.frame(frame, call.samples, (left, row), width);
                self.calls(call, (left, row + 1), scale);
            }
            left += width;
        }
    }

    fn frame(&mut self, frame: &Frame, samples: u64, (left, row): (f64, usize), width: f64) {
        let top = self.bottom - ROW * (row + 1) as f64;
        let share = samples as f64 / self.all as f64 * 100.0;
        let name = plain(&frame.name);
        let letters = ((width - 4.0) / LETTER).max(0.0) as usize;
        let short: String = match frame.name.chars().count() {
            length if length <= letters => name.clone(),
            _ if letters < 4 => String::new(),
            // The end of a path says more than its begin.
            length => {
                plain(&format!("…{}", frame.name.chars().skip(length + 1 - letters).collect::<String>()))
            }
        };
        let _ = writeln!(
            self.svg,
            "<g><title>{name}: {share:.2} %, {samples} samples</title>\
             <rect x=\"{left:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{:.1}\" fill=\"{}\" \
             stroke=\"white\" stroke-width=\"0.5\"/><text x=\"{:.2}\" y=\"{:.1}\">{short}</text></g>",
            ROW - 1.0,
            colour(frame),
            left + 2.0,
            top + 12.0
        );
    }
}

/// The same for the same name; the kernel in blue.
fn colour(frame: &Frame) -> String {
    let mixed = frame.name.bytes().fold(7_u32, |mixed, byte| mixed.wrapping_mul(31) ^ u32::from(byte));
    let (hue, light) = (mixed % 40, 62 + mixed / 40 % 16);
    let hue = if frame.kernel { 195 + hue / 2 } else { 15 + hue };
    format!("hsl({hue},75%,{light}%)")
}

fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::stacks::Stacks;
    use super::svg;

    #[test]
    fn each_function_is_a_box_with_its_name_in_a_title() {
        let script = "nbd-1 \n\t1 a<b> (/bin/esker)\n\t2 main (/bin/esker)\n\n";
        let picture = svg("title", &Stacks::parse(script).tree());
        assert_eq!(picture.matches("<title>").count(), 3);
        assert!(picture.contains("<title>a&lt;b&gt;: 100.00 %, 1 samples</title>"), "{picture}");
        assert!(!picture.contains("<script"));
    }
}
