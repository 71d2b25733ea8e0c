"""SAM's encoder, prompt encoder and decoder against vectors of the published implementation."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods.backbones.sam import PLANS, SAM, SAMPlan
from cdfss_bench.methods.blocks.sam_frames import Frame

from ...support.sam_vectors import REDUCED, SAMVectors, freed
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

stored = stored_vectors(SAMVectors, "sam.npz")


def reduced(side: int) -> SAMPlan:
    return dataclasses.replace(REDUCED, side=side)


ENCODERS = {
    "enc256": reduced(256),
    "enc400": reduced(400),
    "interp512_256": reduced(512),
    "interp1024_400": reduced(1024),
    "enc_eps": reduced(256),
    "vitb256": dataclasses.replace(PLANS["sam-vit-b"], side=256),
}


@pytest.mark.parametrize("case", ENCODERS)
def test_every_stage_of_the_image_encoder_is_as_published(case: str, stored: SAMVectors) -> None:
    network = stored.filled(case, SAM(ENCODERS[case]))
    (images,) = stored.inputs(case)
    wanted = stored.outputs(case)
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for maps in network.walk(images):
            name = maps.stage.name.replace("blocks.", "block.")
            found[name] = maps.output if name == "neck" else maps.output.permute(0, 2, 3, 1)
        grid = (images.shape[-2] // 16, images.shape[-1] // 16)
        found["pos_embed_resized"] = network.image_encoder.positions(grid)
    for name in wanted:
        stored.check(case, name, found[name])


@pytest.mark.parametrize(("case", "grid"), [("prompt64", (64, 64)), ("prompt16x24", (16, 24))])
def test_every_kind_of_prompt_is_encoded_as_published(
    case: str, grid: tuple[int, int], stored: SAMVectors
) -> None:
    encoder = stored.filled(case, SAM(reduced(256))).prompt_encoder
    frame = (16 * grid[0], 16 * grid[1])
    sides = torch.tensor((frame[1], frame[0]))
    points, corners, noise = stored.inputs(case)
    points, masks = points * sides, 4 * noise
    boxes = (corners.sort(dim=1).values * sides).flatten(1)
    labels = torch.tensor(
        next(i for i in stored.cases[case]["inputs"] if "literal" in i)["literal"]
    )
    with torch.no_grad():
        stored.check(case, "dense_pe", encoder.dense_positions(grid))
        alone, _ = encoder(frame=frame, grid=grid, points=points, labels=labels)
        stored.check(case, "points", alone)
        both, _ = encoder(frame=frame, grid=grid, points=points, labels=labels, boxes=boxes)
        stored.check(case, "points_box", both)
        box, _ = encoder(frame=frame, grid=grid, boxes=boxes)
        stored.check(case, "box", box)
        nothing, mask = encoder(frame=frame, grid=grid, masks=masks)
        stored.check(case, "mask", mask)
        assert nothing.shape == (len(masks), 0, 256)
        nothing, none = encoder(frame=frame, grid=grid)
        stored.check(case, "none", none)
        assert nothing.shape == (1, 0, 256)


SIZES = {
    "dec64": ((400, 400), 1024),
    "dec16b2": ((400, 400), 256),
    "dec16x24": ((267, 400), 384),
    "dec_eps": ((400, 400), 256),
}


@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("several", [True, False])
def test_masks_scores_and_gradients_are_as_published(
    case: str, *, several: bool, stored: SAMVectors
) -> None:
    network = stored.filled(case, SAM(reduced(256)))
    freed(network)
    embedding, sparse, noise = stored.inputs(case)
    dense = 0.5 * noise
    sparse.requires_grad_()
    dense.requires_grad_()
    positions = network.prompt_encoder.dense_positions((embedding.shape[-2], embedding.shape[-1]))
    low, scores = network.mask_decoder(embedding, positions, sparse, dense, several=several)
    low.sum().backward()
    kind = "multi" if several else "single"
    size, side = SIZES[case]
    found = {
        kind: low,
        f"{kind}_iou": scores,
        f"{kind}_up": Frame(size, side).restored(low),
        f"{kind}_up_direct": F.interpolate(low, size, mode="bilinear", align_corners=False),
        f"grad_{kind}_sparse": sparse.grad,
        f"grad_{kind}_dense": dense.grad,
    }
    for name in stored.outputs(case):
        if kind in name:
            got = found[name]
            assert got is not None
            stored.check(case, name, got)


def test_a_batch_is_decoded_as_its_samples_are(stored: SAMVectors) -> None:
    network = stored.filled("dec16b2", SAM(reduced(256)))
    embedding, sparse, dense = stored.inputs("dec16b2")
    positions = network.prompt_encoder.dense_positions((16, 16))
    with torch.no_grad():
        whole, _ = network.mask_decoder(embedding, positions, sparse, dense, several=True)
        for i in range(2):
            rows = (embedding[i : i + 1], positions, sparse[i : i + 1], dense[i : i + 1])
            alone, _ = network.mask_decoder(*rows, several=True)
            torch.testing.assert_close(alone[0], whole[i], rtol=0, atol=1e-4)


def test_the_whole_of_sam_segments_two_images_as_published(stored: SAMVectors) -> None:
    case = "sam256"
    network = stored.filled(case, SAM(reduced(256)))
    pictures = [255 * image for image in stored.inputs(case)]
    frames = [Frame((400, 400), 256), Frame((300, 400), 256)]
    points, labels = torch.tensor([[[100.0, 80], [200, 30]]]), torch.tensor([[1, 0]])
    box = torch.tensor([[[40.0, 50], [180, 150]]])
    assert frames[1].inner == tuple(pictures[1].shape[-2:])
    prompts = [{"points": points, "labels": labels}, {"boxes": box.flatten(1)}]
    for number, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        seen = frame.normalised(picture[None])
        with torch.no_grad():
            embedding = network.embedding(seen)
            sparse, dense = network.prompt_encoder(
                frame=frame.square, grid=network.grid(frame.side), **prompts[number]
            )
            low, scores = network.mask_decoder(
                embedding,
                network.prompt_encoder.dense_positions(network.grid(frame.side)),
                sparse,
                dense,
                several=True,
            )
        stored.check(case, f"low_res{number}", low)
        stored.check(case, f"iou{number}", scores)
        stored.check(case, f"masks{number}", frame.restored(low) > 0)
        if number == 1:
            stored.check(case, "preprocess1", seen)
