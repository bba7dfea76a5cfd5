//! Lines in a picture: SVG, written without anybody's help. Both axes are logarithmic.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub struct Plot<'a> {
    pub title: &'a str,
    pub x_title: &'a str,
    pub y_title: &'a str,
    /// Where the first axis has marks, and what they say.
    pub marks: Vec<(f64, String)>,
    pub lines: Vec<Line>,
}

/// The same store has the same colour in all pictures.
fn colour(name: &str) -> &'static str {
    match name {
        "larder" => "#c1121f",
        "larder-fanout" => "#f4845f",
        "sqlite" => "#003f88",
        "lmdb" => "#2b9348",
        "lmdb-durable" => "#95d5b2",
        "redb" => "#7b2cbf",
        "fjall" => "#b08968",
        "sled" => "#e9a000",
        _ => "#6c757d",
    }
}

fn number(value: f64) -> String {
    if value >= 1.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value}") }
}

impl Plot<'_> {
    /// `None` if there is nothing to draw.
    pub fn to_svg(&self) -> Option<String> {
        let is_drawn = |(x, y): &(f64, f64)| *x > 0.0 && *y > 0.0 && x.is_finite() && y.is_finite();
        let points: Vec<(f64, f64)> =
            self.lines.iter().flat_map(|line| line.points.iter().copied()).filter(is_drawn).collect();
        let bounds = |part: fn(&(f64, f64)) -> f64| {
            let all = points.iter().map(part);
            (all.clone().fold(f64::MAX, f64::min), all.fold(0.0, f64::max))
        };
        if points.is_empty() {
            return None;
        }
        let (x_range, (y_least, y_most)) = (bounds(|point| point.0), bounds(|point| point.1));
        let y_range = (10f64.powf(y_least.log10().floor()), 10f64.powf(y_most.log10().ceil()));
        let place = |value: f64, (least, most): (f64, f64)| {
            let width = (most.ln() - least.ln()).max(1e-9);
            (value.ln() - least.ln()) / width
        };
        let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * place(value, x_range);
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * place(value, y_range);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut decade = y_range.0;
        while decade <= y_range.1 * 1.001 {
            let at = y(decade);
            let _ = writeln!(svg, "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                number(decade)
            );
            decade *= 10.0;
        }
        for (value, says) in self.marks.iter().filter(|(value, _)| *value >= x_range.0 && *value <= x_range.1) {
            let at = x(*value);
            let _ = writeln!(svg, "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#ddd\"/>");
            let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{says}</text>", bottom + 16.0);
        }
        self.write_lines(&mut svg, &x, &y);
        let middle = (LEFT + right) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"22\" text-anchor=\"middle\" font-size=\"15\">{}</text>",
            self.title
        );
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 14.0,
            self.x_title
        );
        let height = (TOP + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{height}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {height})\">{}</text>\n</svg>",
            self.y_title
        );
        Some(svg)
    }

    fn write_lines(&self, svg: &mut String, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
        for (at, line) in self.lines.iter().enumerate() {
            let (colour, legend) = (colour(&line.name), TOP + 8.0 + 18.0 * at as f64);
            let is_drawn = |point: &&(f64, f64)| point.0 > 0.0 && point.1 > 0.0 && point.1.is_finite();
            let points: Vec<(f64, f64)> = line.points.iter().filter(is_drawn).map(|&(a, b)| (x(a), y(b))).collect();
            let path: Vec<String> = points.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            if points.len() < 20 {
                for (a, b) in &points {
                    let _ = writeln!(svg, "<circle cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3\" fill=\"{colour}\"/>");
                }
            }
            let left = WIDTH - RIGHT + 12.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                legend - 6.0
            );
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{legend}\">{}</text>", left + 20.0, line.name);
        }
    }
}
