//! A bar chart as SVG: attributes alone, since the page's policy takes no inline style; the style sheet colours it.

use maud::{Markup, html};

use super::parts::number;

/// A bar.
pub(super) struct Bar {
    pub label: String,
    pub value: u64,
}

const WIDTH: u64 = 600;
const HEIGHT: u64 = 180;
const TOP: u64 = 28;
const BOTTOM: u64 = 32;

/// The next number of the form 1, 2 or 5 times a power of ten: what the topmost line says.
fn ceiling(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for of in [1, 2, 5] {
            let at = unit.saturating_mul(of);
            if at >= most.max(1) {
                return at;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// A height in pixels; what is there at all is seen.
fn height(value: u64, most: u64) -> u64 {
    let full = u128::from(HEIGHT - TOP - BOTTOM);
    let part = u128::from(value) * full / u128::from(most.max(1));
    let part = u64::try_from(part).unwrap_or(0);
    if value > 0 { part.max(1) } else { 0 }
}

/// The chart; its title and what it shows in a sentence are read out in its place.
pub(super) fn chart(id: &str, title: &str, bars: &[Bar]) -> Markup {
    let most = ceiling(bars.iter().map(|b| b.value).max().unwrap_or(0));
    let step = WIDTH / (bars.len() as u64).max(1);
    let base = HEIGHT - BOTTOM;
    let sum: u64 = bars.iter().map(|b| b.value).sum();
    let top = bars.iter().max_by_key(|b| b.value).filter(|b| b.value > 0);
    let told = match top {
        Some(b) => format!("{} in all; the most on {}: {}.", number(sum), b.label, number(b.value)),
        None => "None.".to_owned(),
    };
    let (title_id, told_id) = (format!("{id}-title"), format!("{id}-told"));
    let ticks = [0, bars.len() / 2, bars.len().saturating_sub(1)];
    html! {
        figure.app-chart {
            figcaption { strong id=(title_id) { (title) } " " span id=(told_id) { (told) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby=(title_id) aria-describedby=(told_id) {
                line.app-chart__line x1="0" y1=(TOP) x2=(WIDTH) y2=(TOP) {}
                text.app-chart__text x="0" y=(TOP - 8) { (number(most)) }
                line.app-chart__line x1="0" y1=(base) x2=(WIDTH) y2=(base) {}
                @for (n, bar) in bars.iter().enumerate() {
                    @let tall = height(bar.value, most);
                    rect.app-chart__bar x=(n as u64 * step + 2) y=(base - tall) width=(step.saturating_sub(4)) height=(tall) {
                        title { (bar.label) ": " (number(bar.value)) }
                    }
                }
                @for (place, tick) in ["start", "middle", "end"].into_iter().zip(ticks) {
                    @if let Some(bar) = bars.get(tick) {
                        @let x = match place { "start" => 0, "middle" => tick as u64 * step + step / 2, _ => WIDTH };
                        text.app-chart__text x=(x) y=(HEIGHT - 8) text-anchor=(place) { (bar.label) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_topmost_line_is_a_round_number() {
        for (most, line) in [(0, 1), (1, 1), (3, 5), (6, 10), (17, 20), (41, 50), (51, 100), (999, 1_000)] {
            assert_eq!(ceiling(most), line);
        }
    }

    #[test]
    fn a_chart_has_a_bar_a_day_each_with_its_own_words() {
        let bars: Vec<Bar> = (0..30).map(|n| Bar { label: format!("{n} Mar"), value: n }).collect();
        let page = chart("c", "Records opened a day", &bars).into_string();
        assert_eq!(page.matches("<rect").count(), 30);
        assert!(page.contains("<title>29 Mar: 29</title>") && page.contains("435 in all"), "{page}");
        assert!(!page.contains("style="), "the policy takes no inline style");
        let none = chart("c", "t", &[Bar { label: "1 Mar".into(), value: 0 }]).into_string();
        assert!(none.contains("None."), "{none}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_bar_is_taller_than_the_chart_whatever_its_number(value: u64, more: u64) {
            let most = ceiling(value.max(more) / 2);
            prop_assert!(height(value.min(most), most) <= HEIGHT - TOP - BOTTOM);
        }
    }
}
