//! A bar chart: a group of bars for each job.

use std::fmt::Write;

const BAR_HEIGHT: usize = 14;
const LABEL_WIDTH: usize = 220;
const BARS_WIDTH: usize = 520;
const LINE_HEIGHT: usize = 16;
const COLOURS: [&str; 8] =
    ["#c0392b", "#7f8c8d", "#bdc3c7", "#2980b9", "#16a085", "#8e44ad", "#d35400", "#2c3e50"];

/// A bar, with the half of its values as a thin line.
pub struct Bar {
    /// Who.
    pub name: String,
    /// How long.
    pub value: f64,
    /// Where a quarter of the values is below.
    pub low: f64,
    /// Where a quarter of the values is above.
    pub high: f64,
    /// What stands at its end.
    pub note: String,
}

/// The chart.
#[derive(Default)]
pub struct Chart {
    /// Lines above it.
    pub title: Vec<String>,
    /// A name and its bars; each group has a scale of its own.
    pub groups: Vec<(String, Vec<Bar>)>,
}

impl Chart {
    /// As SVG.
    pub fn svg(&self) -> String {
        let bars: usize = self.groups.iter().map(|(_, bars)| bars.len()).sum();
        let height = (self.title.len() + 1) * LINE_HEIGHT
            + self.groups.len() * (LINE_HEIGHT * 2)
            + bars * (BAR_HEIGHT + 2);
        let width = LABEL_WIDTH + BARS_WIDTH + 260;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let mut y = LINE_HEIGHT;
        for line in &self.title {
            text(&mut svg, (8, y), "", line);
            y += LINE_HEIGHT;
        }
        for (name, bars) in &self.groups {
            y += LINE_HEIGHT;
            text(&mut svg, (8, y), " font-weight=\"bold\"", name);
            y += LINE_HEIGHT / 2;
            let longest = bars.iter().map(|bar| bar.high.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
            for (number, bar) in bars.iter().enumerate() {
                draw(&mut svg, bar, y, BARS_WIDTH as f64 / longest, COLOURS[number % COLOURS.len()]);
                y += BAR_HEIGHT + 2;
            }
            y += LINE_HEIGHT / 2;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn draw(svg: &mut String, bar: &Bar, y: usize, scale: f64, colour: &str) {
    let middle = y + BAR_HEIGHT / 2;
    text(svg, (LABEL_WIDTH - 6, middle + 4), " text-anchor=\"end\"", &bar.name);
    let (low, high) = (LABEL_WIDTH as f64 + bar.low * scale, LABEL_WIDTH as f64 + bar.high * scale);
    let _ = writeln!(
        svg,
        "<rect x=\"{LABEL_WIDTH}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>\n\
         <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"black\"/>",
        bar.value * scale
    );
    let end = high.max(LABEL_WIDTH as f64 + bar.value * scale) as usize;
    text(svg, (end + 6, middle + 4), "", &bar.note);
}

fn text(svg: &mut String, (x, y): (usize, usize), attributes: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{attributes}>{content}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_value() {
        let bar =
            |name: &str| Bar { name: name.into(), value: 2.0, low: 1.5, high: 2.5, note: "2 < 3".into() };
        let groups = vec![("reads".into(), vec![bar("a"), bar("b")])];
        let svg = Chart { title: vec!["title".into()], groups }.svg();
        assert_eq!(svg.matches("<line").count(), 2);
        assert!(svg.contains("2 &lt; 3") && svg.ends_with("</svg>\n"));
    }
}
