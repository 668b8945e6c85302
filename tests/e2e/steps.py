"""What a visitor does, in words of the page."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Page, expect


def ask(page: Page, prompt: str, steps: int = 2) -> None:
    """Fill in the form and press Generate."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    set_steps(page, steps)
    page.locator("#go").click()


def set_steps(page: Page, steps: int) -> None:
    if not page.locator("#steps").is_visible():
        page.get_by_text("Advanced ·").click()
    field = page.locator("#steps input[type=number]")
    told = page.locator("#advanced").get_by_text(f"{steps} steps")
    # Gradio builds what is in an accordion when it opens, and its first value may come over one
    # that a program types at once. A person is never that fast.
    for _ in range(5):
        field.fill(str(steps))
        field.blur()
        with suppress(AssertionError):
            expect(told).to_be_visible(timeout=3000)
            return
    expect(told).to_be_visible()


def wait_until_done(page: Page) -> None:
    expect(page.locator("#status [data-status=completed]")).to_be_visible(timeout=20_000)


def paint(page: Page, prompt: str, steps: int = 2) -> None:
    ask(page, prompt, steps)
    wait_until_done(page)


def add_lora(page: Page, name: str) -> None:
    page.get_by_label("Add a LoRA", exact=True).click()
    page.get_by_role("option", name=name, exact=True).click()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def picture_is_there(page: Page, selector: str) -> None:
    """The image has really been fetched and decoded."""
    page.locator(selector).first.evaluate("image => image.decode()")


def act(page: Page, place: str, name: str) -> None:
    """Press one of our own buttons."""
    page.locator(f"{place} [data-act={name}]").first.click()
