#!/usr/bin/env bash
# label-studio-sdk 2.1.2, the converter behind Label Studio's "COCO" export, merges all keypoints of an image into one
# annotation, no matter how many people they belong to. An annotation has one entry per label, so the last point with a
# label wins, whichever person it belongs to. "parentID" ties each point to the rectangle of its person, but the
# converter ignores it. One would expect one annotation per parent. There is no warning, and the result is a valid file
# with plausible poses: of two people who both have a nose and a left eye, one remains; a person who lacks an eye gets
# the other's.
#
# Output: 1 annotation with keypoints, [80, 10, 2, 12, 8, 2]: the nose of the second person and the eye of the first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet label-studio-sdk==2.1.2
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import json
from pathlib import Path

from label_studio_sdk.converter import Converter

config = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="person"/></RectangleLabels>
<KeyPointLabels name="joint" toName="image">
<Label value="nose" model_index="0"/><Label value="left_eye" model_index="1"/>
</KeyPointLabels></View>"""


def result(name, kind, value, **more):
    size = {"original_width": 100, "original_height": 100, "image_rotation": 0}
    return {"id": name, "to_name": "image", "type": kind, "value": value, **size, **more}


def person(name, x, **joints):
    box = {"x": x, "y": 5, "width": 10, "height": 40, "rotation": 0, "rectanglelabels": ["person"]}
    points = [
        result(
            f"{name} {joint}",
            "keypointlabels",
            {"x": at[0], "y": at[1], "width": 1, "keypointlabels": [joint]},
            from_name="joint",
            parentID=name,
        )
        for joint, at in joints.items()
    ]
    return [result(name, "rectanglelabels", box, from_name="box"), *points]


people = person("first", 5, nose=(10, 10), left_eye=(12, 8)) + person("second", 75, nose=(80, 10))
task = {"id": 1, "data": {"image": "photograph.jpg"}, "annotations": [{"id": 1, "result": people}]}
Path("tasks.json").write_text(json.dumps([task]))
converter = Converter(config, ".", download_resources=False)
converter.convert_to_coco("tasks.json", "coco", output_image_dir="images", is_dir=False)
annotations = json.loads(Path("coco/result.json").read_text())["annotations"]
poses = [each["keypoints"] for each in annotations if each.get("keypoints")]
print(len(poses), "annotation with keypoints:", *poses)
assert poses == [[80, 10, 2, 12, 8, 2]], "people are no longer mixed"
EOF
