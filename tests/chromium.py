"""Headless Chromium where it is installed, and tabs that reach their own address alone."""

import shutil
from collections.abc import Callable

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; install one (Debian: apt install chromium)")


class Tab:
    """A tab, what it asked of other addresses than those that are its ``own``, and what went wrong in it."""

    def __init__(self, browser, own: Callable[[str], bool], width: int, height: int, **options) -> None:
        self.own, self.asked, self.errors = own, [], []
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _route(self, route) -> None:
        if self.own(route.request.url):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()
