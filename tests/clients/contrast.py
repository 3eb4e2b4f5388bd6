"""
Whether what is on a page can be told from its background.

Source: WCAG 2.2, success criteria 1.4.3 (text: 4.5 to 1, large text 3 to 1) and 1.4.11 (edges of inputs: 3 to 1).
"""

from __future__ import annotations

from selenium.webdriver import Chrome

_SCRIPT = r"""
const channels = colour => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  c.fillStyle = colour; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
const opaque = item => { for (let at = item; at; at = at.parentElement) {
  const found = channels(getComputedStyle(at).backgroundColor); if (found[3] === 255) return found; }
  return [255, 255, 255, 255]; };
const visible = item => item.checkVisibility({opacityProperty: true, visibilityProperty: true});
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const item = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
  if (!text || !visible(item)) continue;
  const style = getComputedStyle(item), size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
  found.push([text.slice(0, 40), channels(style.color), opaque(item), large ? 3 : 4.5]);
}
const edged = '.field input, textarea, .cancel, .ways > label';
for (const item of document.querySelectorAll(edged)) {
  if (!visible(item)) continue;
  const style = getComputedStyle(item), name = item.id || item.className || item.htmlFor;
  found.push(['edge of ' + name, channels(style.borderTopColor), opaque(item.parentElement), 3]);
  if (item.value !== undefined) found.push(['text in ' + name, channels(style.color), opaque(item), 4.5]);
}
return found;
"""


def faults_of_contrast(browser: Chrome) -> list[str]:
    """What on the page that is shown has too little contrast; everything that can be seen is looked at."""
    looked_at = browser.execute_script(_SCRIPT)
    assert len(looked_at) > 3
    return [
        f"{what}: {ratio(front, back):.2f} where {needed} is needed"
        for what, front, back, needed in looked_at
        if ratio(front, back) < needed
    ]


def ratio(one: list[int], other: list[int]) -> float:
    """Contrast of two colours, 1 to 21. Source: WCAG 2.2, definition of contrast ratio."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: list[int]) -> float:
    parts = [value / 255 for value in colour[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
