"""Take the picture of the page that the README shows, with the demo's models, in headless Chromium.

    python experiments/2026-11-any-video/page_picture.py experiments/2026-11-any-video/page.png

Reads   runs/demo, as `make demo` leaves it: the model, the example clips and the voices for babble.
Writes  a PNG, 1280 px wide and below 300 kB.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from jsonargparse import auto_cli
from PIL import Image

WIDTH, MAX_BYTES = 1280, 300_000
WAIT_MS = 180_000
AS_IT_PLAYS = """
for (const video of document.querySelectorAll("video")) {
    video.pause();
    video.controls = false;  // those of a video that stands still lie over its captions
    video.currentTime = video.duration / 2;
}
"""


def main(
    out: Path, models: str = "demo", example: int = 1, noise: str = "babble", snr_db: int = -5, port: int = 7861
) -> None:
    """Serve the page, transcribe an example in noise and take the picture.

    Args:
        out: the picture.
        models: as for ``avspeech.app``.
        example: which of the page's examples, from 0.
        noise: kind that is added.
        snr_db: its level.
        port: where the page is served for as long.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium; install one (Debian: apt install chromium)")
    command = [sys.executable, "-m", "avspeech.app", "--models", models, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if "the page is at" not in server.stdout.readline():
            sys.exit("the page did not start")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": 900})
            page.set_default_timeout(WAIT_MS)
            page.goto(f"http://127.0.0.1:{port}")
            page.locator("button.example").nth(example).click()
            page.wait_for_selector("#video video")
            page.click("#noise input")
            page.click(f"[role=option]:has-text('{noise}')")
            page.fill("#snr input[type=number]", str(snr_db))
            page.press("#snr input[type=number]", "Enter")
            page.click("#run")
            page.wait_for_selector("#transcript-audio-video, #message [role=alert]")
            if page.locator("#message [role=alert]").count():
                sys.exit(page.inner_text("#message"))
            page.evaluate(AS_IT_PLAYS)
            page.wait_for_timeout(2000)
            page.screenshot(path=str(out), full_page=True)
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=60)
    picture = Image.open(out).convert("RGB")
    for colours in (256, 128, 64):
        picture.quantize(colours).save(out, optimize=True)
        if out.stat().st_size < MAX_BYTES:
            break
    print(f"{out}: {picture.width}x{picture.height}, {out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    auto_cli(main)
