"""A hand-made RefCOCO in both layouts: everything in it is known by construction."""

import json
import pickle

import numpy as np
from PIL import Image

SIZE = (40, 60)  # height, width
FIRST, SECOND = "COCO_train2014_000000000001", "COCO_train2014_000000000002"


def rectangle(x0, y0, x1, y1):
    """A polygon along the borders of pixels: x1 and y1 exclusive."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


# id -> picture's id, COCO's segmentation, iscrowd
OBJECTS = {
    11: (1, [rectangle(10, 5, 30, 25)], 0),
    12: (1, [rectangle(0, 0, 4, 4), [1, 1, 9, 9], rectangle(50.0, 30.0, 60.0, 40.0)], 0),
    # Down the columns: 80 pixels are columns 0 and 1, the next 80 columns 2 and 3.
    13: (2, {"size": [40, 60], "counts": [80, 80, 2240]}, 1),
}
# The sentences of each object: sent_id, text
SENTENCES = {11: {1: "left man", 2: "man  in Red"}, 12: {3: "the rest"}, 13: {7: "the crowd"}}
SPLITS = {11: "train", 12: "train", 13: "train"}


def masks():
    """(H, W) bool by object id."""
    made = {i: np.zeros(SIZE, bool) for i in OBJECTS}
    made[11][5:25, 10:30] = True
    made[12][:4, :4] = made[12][30:, 50:] = True
    made[13][:, 2:4] = True
    return made


def write_pictures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, color in ((FIRST, (200, 0, 0)), (SECOND, (0, 200, 0))):
        Image.new("RGB", SIZE[::-1], color).save(folder / f"{name}.jpg")


def images():
    return {
        i: {"id": i, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
        for i, name in ((1, FIRST), (2, SECOND))
    }


def annotation(object_id):
    picture, segmentation, crowd = OBJECTS[object_id]
    return {"image_id": picture, "segmentation": segmentation, "iscrowd": crowd, "id": object_id}


def converted(name="refcoco"):
    """The content of instances_<name>_train.json: ids of sentences are numbers from 1 on."""
    content = {"images": [], "annotations": []}
    for object_id, sentences in SENTENCES.items():
        for text in sentences.values():
            number = len(content["images"]) + 1
            picture = images()[OBJECTS[object_id][0]]
            said = {"id": number, "original_id": picture["id"], "caption": text}
            content["images"].append(picture | said | {"dataset_name": name})
            drawn = {"image_id": number, "id": number, "original_id": object_id}
            content["annotations"].append(annotation(object_id) | drawn)
    return content


def refs():
    """The content of refs(unc).p."""
    return [
        {
            "ref_id": object_id,
            "ann_id": object_id,
            "image_id": OBJECTS[object_id][0],
            "file_name": f"COCO_train2014_{object_id}.jpg",  # as in the original: not the picture's
            "split": SPLITS[object_id],
            "sentences": [{"sent_id": i, "sent": text, "raw": text} for i, text in said.items()],
        }
        for object_id, said in SENTENCES.items()
    ]


def instances():
    return {"images": list(images().values()), "annotations": [annotation(i) for i in OBJECTS]}


def write_refcoco(root, layout="converted", name="refcoco"):
    """Write `<root>/<name>` and `<root>/train2014`; returns the former."""
    write_pictures(root / "train2014")
    folder = root / name
    folder.mkdir()
    if layout == "converted":
        (folder / f"instances_{name}_train.json").write_text(json.dumps(converted(name)))
    else:
        # Python 2 wrote short texts as byte strings: opcode U and one byte of length.
        data = pickle.dumps(refs(), protocol=2).replace(b"X\5\0\0\0train", b"U\5train")
        assert b"U\5train" in data
        (folder / "refs(unc).p").write_bytes(data)
        (folder / "instances.json").write_text(json.dumps(instances()))
    return folder


def pictures_of(split, root):
    """Frame 0 of each video of a split in MeViS's layout, as a converted dataset `<root>/refcoco`.

    Its sentences are the expressions about one object; masks are compressed RLEs.
    """
    meta = json.loads((split / "meta_expressions.json").read_text())["videos"]
    tracks = json.loads((split / "mask_dict.json").read_text())
    folder = root / "refcoco"
    for place in (folder, root / "train2014"):
        place.mkdir(parents=True)
    content = {"images": [], "annotations": []}
    for video, entry in meta.items():
        frame = split / "JPEGImages" / video / f"{entry['frames'][0]}.jpg"
        (root / "train2014" / f"{video}.jpg").write_bytes(frame.read_bytes())
        height, width = Image.open(frame).size[::-1]
        for expression in entry["expressions"].values():
            objects = expression["anno_id"]
            if len(objects) != 1 or (mask := tracks[str(objects[0])][0]) is None:
                continue
            number = len(content["images"]) + 1
            picture = {"id": number, "file_name": f"{video}.jpg", "height": height, "width": width}
            content["images"].append(picture | {"caption": expression["exp"]})
            drawn = {"image_id": number, "id": number, "original_id": objects[0]}
            content["annotations"].append(drawn | {"segmentation": mask})
    (folder / "instances_refcoco_train.json").write_text(json.dumps(content))
    return folder
