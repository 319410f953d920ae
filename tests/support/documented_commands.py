"""How each command of the README and docs/ is tested. A command that is in none of these fails a test."""

HERE = {
    "make help",
    "make labels DETECTOR=yolox_tiny",
    "make labels FILE=configs/labels/mine.xml",
    "cp configs/labels/animals.xml configs/labels/mine.xml",
}
"""Run for real by tests/unit/docs, in a copy of the checkout."""

UP = {
    "make up": {},
    "make up LABEL_CONFIG=configs/labels/mine.xml": {"LABEL_CONFIG": "configs/labels/mine.xml"},
    "make up DETECTOR=yolox_s LABEL_CONFIG=configs/labels/face.xml PORT=8081": {
        "DETECTOR": "yolox_s",
        "LABEL_CONFIG": "configs/labels/face.xml",
        "PORT": "8081",
    },
    "make up DETECTOR=yolox_tiny": {"DETECTOR": "yolox_tiny"},
    "make up ROUND_MINUTES=10": {"ROUND_MINUTES": "10"},
    "make up ACCELERATOR=cpu": {"ACCELERATOR": "cpu"},
    "make up TORCH_CUDA_ARCH_LIST=8.6": {"TORCH_CUDA_ARCH_LIST": "8.6"},
    "make up PUBLIC_URL=https://labels.example.com "
    "PUBLIC_DASHBOARD_URL=https://dashboard.labels.example.com": {
        "PUBLIC_URL": "https://labels.example.com",
        "PUBLIC_DASHBOARD_URL": "https://dashboard.labels.example.com",
    },
    "make up HTTP_PROXY=http://proxy.example.com:3128 HTTPS_PROXY=http://proxy.example.com:3128 "
    "NO_PROXY=.example.com,10.0.0.0/8": {
        "HTTP_PROXY": "http://proxy.example.com:3128",
        "HTTPS_PROXY": "http://proxy.example.com:3128",
        "NO_PROXY": ".example.com,10.0.0.0/8",
    },
    "make up USER_AGENT=photos/1,ann@example.org": {"USER_AGENT": "photos/1,ann@example.org"},
    "make up IMAGE_HOSTS=https://minio.lan:9000": {"IMAGE_HOSTS": "https://minio.lan:9000"},
    "make up IMAGES=s3://photos/line-3 S3_REGION=eu-central-1": {
        "IMAGES": "s3://photos/line-3",
        "S3_REGION": "eu-central-1",
    },
    "make up IMAGES=s3://photos S3_ENDPOINT=http://minio.lan:9000": {
        "IMAGES": "s3://photos",
        "S3_ENDPOINT": "http://minio.lan:9000",
    },
    "make up BIND=192.0.2.10": {"BIND": "192.0.2.10"},
    "make up REGISTRY=registry.example.com/labelloop": {"REGISTRY": "registry.example.com/labelloop"},
    "make up ADMINS=ann@example.org,bob@example.org": {"ADMINS": "ann@example.org,bob@example.org"},
    "make up DATABASE=postgres": {"DATABASE": "postgres"},
    "make up DATABASE=postgres REPLICAS=2": {"DATABASE": "postgres", "REPLICAS": "2"},
    "make up BACKENDS=2": {"BACKENDS": "2"},
    "make up TRAINING_PROCESSES=auto": {"TRAINING_PROCESSES": "auto"},
    "make up CLUSTER=ray CLUSTER_BIND=192.168.1.20": {"CLUSTER": "ray", "CLUSTER_BIND": "192.168.1.20"},
    "make up DATABASE=sqlite DATABASE_URL=": {"DATABASE": "sqlite", "DATABASE_URL": ""},
    "make stack BIND=0.0.0.0": {"BIND": "0.0.0.0"},
    "make stack BACKENDS=2": {"BACKENDS": "2"},
    "make up SCORE_THRESHOLD=0.4 PORT=8090": {"SCORE_THRESHOLD": "0.4", "PORT": "8090"},
}
"""`make up` itself runs in tests/e2e; that it takes and keeps these settings is tested by tests/unit/docs."""

STACK = [
    "make status",
    "make models",
    "make import",
    "make predict",
    "make export FORMAT=coco",
    "make rollback VERSION=v0000",
    "make cancel",
    "make logs",
    "make backup",
    "make build",
    "make restart",
]
"""Run by tests/e2e/test_docs.py, in this order, on a stack with a labelled image."""

ELSEWHERE = {
    "make join TOKEN_FILE=join.json HEAD=192.168.1.20:6379": (
        "tests/cluster/test_nodes.py",
        "one.join(HEAD=head.place)",
    ),
    "make import DATASET=~/data/mine": ("tests/unit/lifecycle/test_intake.py", "import_("),
    "make import DATASET=~/data/mine AS=predictions": ("tests/unit/lifecycle/test_intake.py", "predictions"),
    "make import DATASET=https://labels.example.com FROM=3 TOKEN_FILE=~/their-token": (
        "tests/unit/lifecycle/test_intake.py",
        "TOKEN_FILE",
    ),
    "make import DATASET=~/their/project-3.json IMAGES=~/their/media": (
        "tests/unit/lifecycle/test_intake.py",
        "IMAGES",
    ),
    "make model FORMAT=onnx": ("tests/unit/lifecycle/test_takeaway.py", "FORMAT"),
    "make model FORMAT=onnx INT8=1": ("tests/unit/lifecycle/test_takeaway.py", "INT8"),
    "make token NAME=camera": ("tests/unit/lifecycle/test_takeaway.py", "NAME"),
    "pip install numpy pillow onnxruntime": ("tests/model/test_clean_environment.py", "pillow"),
    "python predict.py photo.jpg": ("tests/model/test_clean_environment.py", "predict.py"),
    "python predict.py --threshold 0.5 --draw boxes photo.jpg": (
        "tests/model/test_clean_environment.py",
        "--draw",
    ),
    'curl --fail-with-body -H "Authorization: Bearer $TOKEN" --data-binary @photo.jpg '
    "http://127.0.0.1:8081/detect": ("tests/unit/trainer/dashboard/test_detect.py", "--data-binary"),
    "docker swarm init --advertise-addr 192.0.2.10 --dispatcher-heartbeat 30s": (
        "tests/support/two_nodes.py",
        '"--dispatcher-heartbeat"',
    ),
    "docker node update --label-add labelloop.backend=true gpu-2": (
        "tests/swarm/test_stack.py",
        '"--label-add"',
    ),
    "make test TESTS=tests/swarm": ("tests/swarm/test_rolling.py", "def test_an_update_fails_no_request"),
    "PYTHONPATH=tests .venv/ml/bin/python -m bench.ten_million": (
        "tests/unit/bench/test_ten_million.py",
        "ten_million.gpu_table",
    ),
    "make stack": ("tests/swarm/test_stack.py", 'target="stack"'),
    "make gpu-check": ("tests/unit/lifecycle/test_gpu_check.py", "gpu_check("),
    "make test TESTS=tests/cuda": ("tests/cuda/test_detectors.py", "train_and_serve"),
    "make doctor": ("tests/e2e/test_doctor.py", '"doctor"'),
    "make down": ("tests/e2e/test_survival.py", 'stack.run("down")'),
    "make backup SECRETS=1 IMAGES=1": ("tests/unit/lifecycle/test_restore.py", "SECRETS"),
    "make restore FILE=volumes/backups/labelloop-20261122.tar.gz": ("tests/e2e/test_keep.py", '"restore"'),
    "make restore FILE=labelloop-20261122.tar.gz": ("tests/e2e/test_keep.py", '"restore"'),
    "make up DATABASE_URL=postgresql://labels@db.example.com/labels DATABASE_CA=configs/db-ca.pem": (
        "tests/unit/lifecycle/test_database.py",
        "DATABASE_CA",
    ),
    "make move-database": ("tests/unit/lifecycle/test_move_database.py", "move_database("),
    "make reset": ("tests/unit/lifecycle/test_upgrade.py", "reset("),
    "make retrain": ("tests/e2e/test_loop.py", '"retrain"'),
    "make labels RENAME=cat=feline,kitten=feline DRY=1": ("tests/e2e/test_projects.py", "DRY=1"),
    "make labels RENAME=cat=feline,kitten=feline": ("tests/e2e/test_projects.py", "RENAME="),
    "make test": (".ci/run", "make test"),
    "make build ACCELERATOR=cuda TORCH_CUDA_ARCH_LIST=9.0": (
        "tests/cuda/test_images.py",
        'ACCELERATOR="cuda"',
    ),
    "make publish REGISTRY=registry.example.com/labelloop": (
        "tests/publish/test_publish.py",
        "publish.push(",
    ),
    "make simulate COCO=~/data/mine": ("tests/unit/lifecycle/test_simulate.py", "simulate("),
    "make bench COCO=~/data/mine ONLY=serving": ("tests/unit/bench/test_options.py", "ONLY"),
    "make bench ONLY=training COCO=~/data/raccoon PREDICTED=raccoon=cat,dog,bear": (
        "tests/unit/bench/test_main.py",
        "PREDICTED",
    ),
    "make bench ONLY=desk": ("tests/unit/bench/test_main.py", "desk"),
    "make bench ONLY=growth SIZES=1000,100000": ("tests/unit/bench/test_options.py", "SIZES"),
}
"""Run, as far as they can be, by the tests of that file, which contain those words."""

NOT_RUN = {
    "git clone <this repository> labelloop && cd labelloop": (
        "the address is yours; the end-to-end tests start from what git tracks"
    ),
    "docker login registry.example.com": "no such registry",
    "nvidia-smi": "no GPU",
    "sudo apt-get install postgresql": "`make test` does it where it may",
    "docker run --rm --gpus all ubuntu nvidia-smi": "no GPU",
    "docker save labelloop/labelstudio labelloop/base:cpu labelloop/trainer:cpu labelloop/mlbackend:cpu "
    "python:3.11-slim-bookworm | gzip > labelloop-images.tar.gz": "4 GB of images",
    "docker load --input labelloop-images.tar.gz": "4 GB of images",
    "git archive --prefix=labelloop/ --output=labelloop.tar HEAD": "belongs to the air-gapped host",
    "tar --extract --file labelloop.tar": "belongs to the air-gapped host",
    "install -D yolox_nano.pth labelloop/volumes/cache/weights/yolox_nano.pth": (
        "belongs to the air-gapped host"
    ),
    "cd labelloop && make up": "belongs to the air-gapped host",
}
"""What nothing here can run, and why; docs/README.md lists it, too."""
