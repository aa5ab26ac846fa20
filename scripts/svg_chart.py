"""The frame of a chart as SVG: two axes with lines and numbers, a legend, and what is drawn within."""
import math
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 860, 460, 60, 20, 50
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]


def colour(k: int) -> str:
    return COLOURS[k % len(COLOURS)]


def round_numbers(least: float, most: float) -> list[float]:
    """Four to ten multiples of 1, 2 or 5 times a power of ten in [least, most]."""
    step = 10 ** math.floor(math.log10((most - least) / 3))
    for factor in (1, 2, 5):
        if (most - least) / (step * factor) <= 10:
            break
    step *= factor
    return [k * step for k in range(math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9) + 1)]


@dataclass
class Chart:
    """x and y go from their first to their second number; the horizontal one by its logarithm if `log`."""
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    log: bool = False
    legend_width: int = 150
    parts: list[str] = field(default_factory=list)
    legend: list[str] = field(default_factory=list)

    def at_x(self, value: float) -> float:
        scale = math.log if self.log else float
        least, most = map(scale, self.x)
        return LEFT + (scale(value) - least) / (most - least) * (WIDTH - LEFT - self.legend_width)

    def at_y(self, value: float) -> float:
        return TOP + (self.y[1] - value) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)

    @staticmethod
    def text(x: float, y: float, words: str, anchor: str = "middle", fill: str = "#333") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'

    def point(self, x: float, y: float, k: int, label: str, title: str):
        """A dot of colour k; an arrow at the top or the bottom edge where y is beyond it."""
        at_x, at_y = self.at_x(x), self.at_y(max(min(y, self.y[1]), self.y[0]))
        tip = -4 if y > self.y[1] else 4  # of the arrow, from its middle
        shape = (f'<path d="M{at_x:.1f} {at_y + tip:.1f}l4 {-2 * tip}h-8z" fill="{colour(k)}"/>' if not self.y[0] <= y <= self.y[1]
                 else f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="3.5" fill="{colour(k)}"/>')
        self.parts.append(f"<g><title>{escape(title)}</title>{shape}{self.text(at_x + 5, at_y - 4, label, 'start', colour(k))}</g>")

    def curve(self, points: list[tuple[float, float]], k: int, title: str):
        """A line of colour k through the points within the frame, dashed where the colours begin anew."""
        inside = [f"{self.at_x(x):.1f} {self.at_y(y):.1f}" for x, y in points if self.x[0] <= x <= self.x[1] and self.y[0] <= y <= self.y[1]]
        dashes = "" if k < len(COLOURS) else ' stroke-dasharray="5 3"'
        if inside:
            self.parts.append(f'<path d="M{"L".join(inside)}" fill="none" stroke="{colour(k)}" stroke-width="1.5"{dashes}>'
                              f"<title>{escape(title)}</title></path>")

    def name(self, k: int, words: str):
        """The next line of the legend."""
        at_y = TOP + 10 + 18 * len(self.legend)
        at_x, paint = WIDTH - self.legend_width + 20, f'fill="{colour(k)}"' if k < len(COLOURS) else f'fill="none" stroke="{colour(k)}"'
        self.legend.append(f'<circle cx="{at_x}" cy="{at_y}" r="3.5" {paint}/>'
                           + self.text(WIDTH - self.legend_width + 30, at_y + 4, words, "start"))

    def svg(self, x_numbers: list[float] | None = None) -> str:
        right = WIDTH - self.legend_width
        frame = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
                 f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
        for value in x_numbers or round_numbers(*self.x):
            if self.x[0] <= value <= self.x[1]:
                at = self.at_x(value)
                frame.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>' + self.text(at, HEIGHT - BOTTOM + 15, f"{value:,g}"))
        y_numbers = round_numbers(*self.y)
        digits = max(0, -math.floor(math.log10(y_numbers[1] - y_numbers[0]) + 1e-9))
        for value in y_numbers:
            at = self.at_y(value)
            frame.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="{"#888" if abs(value) < 1e-12 else "#e5e5e5"}"/>'
                         + self.text(LEFT - 6, at + 4, f"{value:.{digits}f}" if abs(value) > 1e-12 else "0", "end"))
        labels = [self.text((LEFT + right) / 2, HEIGHT - 14, self.x_label),
                  f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle" fill="#333">'
                  f"{escape(self.y_label)}</text></svg>"]
        return "\n".join(frame + self.parts + self.legend + labels) + "\n"
