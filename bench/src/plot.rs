//! A line plot as inline SVG. It knows lines, axes and ticks; not what they mean: see `html`.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 40.0;
/// Colours of the lines in turn; told apart by people who see no red or no green.
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A plot; places are parts of the axis, 0 to 1.
#[derive(Debug, Default)]
pub struct Plot {
    /// Ticks below: place and label.
    pub x_ticks: Vec<(f64, String)>,
    /// Ticks at the left: place and label.
    pub y_ticks: Vec<(f64, String)>,
    /// Lines: name and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// The SVG element, with a legend under it when there are several lines.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">"
        );
        for (place, label) in &self.x_ticks {
            let x = x(*place);
            let (top, bottom) = (TOP, HEIGHT - BOTTOM);
            put(
                &mut svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                     <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    bottom + 18.0,
                    escape(label)
                ),
            );
        }
        for (place, label) in &self.y_ticks {
            let y = y(*place);
            put(
                &mut svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    WIDTH - RIGHT,
                    LEFT - 8.0,
                    y + 4.0,
                    escape(label)
                ),
            );
        }
        for (at, (name, points)) in self.lines.iter().enumerate() {
            let points: Vec<String> =
                points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py))).collect();
            put(
                &mut svg,
                format_args!(
                    "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"><title>{}</title></polyline>",
                    colour(at),
                    points.join(" "),
                    escape(name)
                ),
            );
        }
        svg.push_str("</svg>");
        if self.lines.len() > 1 {
            svg.push_str("<p class=\"legend\">");
            for (at, (name, _)) in self.lines.iter().enumerate() {
                put(
                    &mut svg,
                    format_args!(
                        "<span><i style=\"background:{}\"></i>{}</span> ",
                        colour(at),
                        escape(name)
                    ),
                );
            }
            svg.push_str("</p>");
        }
        svg
    }
}

/// Text that HTML shows as it is.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Appends; a `String` takes all that is written to it.
pub fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _always = text.write_fmt(arguments);
}

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

fn x(place: f64) -> f64 {
    LEFT + place.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

fn y(place: f64) -> f64 {
    TOP + (1.0 - place.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let lines = vec![
            ("<script>\"&".to_owned(), vec![(0.0, 0.0), (1.0, 1.0)]),
            ("b".to_owned(), Vec::new()),
        ];
        let svg = Plot { lines, ..Plot::default() }.svg();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;&amp;"));
        assert!(svg.contains("points=\"80.0,280.0 840.0,20.0\""));
    }
}
