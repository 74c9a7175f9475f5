"""What axe-core finds wrong in a page: every browser test looks at what it ends with, or at what it is about."""

from pathlib import Path

from playwright.async_api import Page

_AXE = (Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
_LOADED = "Boolean(window.axe)"
# What fades or slides just now is looked at when it stands.
_STILL = """
Promise.allSettled(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < Infinity)
  .map((one) => one.finished)).then(() => null)
"""
_RUN = "axe.run(document, {resultTypes: ['violations']})"


async def violations(page: Page) -> list[str]:
    """One line for each, empty when all is well. Wakes the room's bars, which fade without input."""
    await page.keyboard.press("Shift")
    await page.evaluate(_STILL)
    # By CDP: the page's policy lets no script in, which is as it should be.
    if not await page.evaluate(_LOADED):
        await page.evaluate(_AXE)
    found = await page.evaluate(_RUN)
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes']]}" for one in found["violations"]]
